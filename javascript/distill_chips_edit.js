// A chip edited in place: double-click, Enter or F2; Enter keeps, Escape does not. Needs distill_chips.js.
(function () {
    "use strict";

    const {say, make, chips} = window.distill;

    if (window.distill.edit) return;

    function edit(editor, index) {
        const tag = editor.tags[index];
        if (editor.isTaking || tag === undefined || editor.isHeld) return;
        const label = say("Edit {tag}", {tag});
        const input = make("input", {type: "text", class: "distill-chip-edit", value: tag, size: Math.max(4, tag.length), "aria-label": label});
        editor.isHeld = true;
        editor.rowOf(index).replaceChildren(make("span", {role: "gridcell"}, input));
        input.focus();
        input.select();

        function end(isKept) {
            if (!editor.isHeld) return;
            editor.isHeld = false;
            editor.isStale = true;
            if (isKept && input.value.trim() !== tag) replace(editor, index, tag, chips.parse(input.value));
            else editor.sync();
        }

        input.addEventListener("blur", () => end(true));
        input.addEventListener("keydown", (event) => {
            if (event.isComposing || !["Enter", "Escape"].includes(event.key)) return;
            event.preventDefault();
            event.stopPropagation();
            end(event.key === "Enter");
            if (editor.tags.length) editor.focusIndex(Math.min(index, editor.tags.length - 1));
            else editor.adder.input.focus();
        });
    }

    // The text may have become another while the tag was edited: then it is found again, or the words come last.
    function replace(editor, index, tag, by) {
        editor.sync();
        const at = editor.tags[index] === tag ? index : editor.tags.indexOf(tag);
        const all = [...editor.tags];
        all.splice(at < 0 ? all.length : at, at < 0 ? 0 : 1, ...by);
        editor.put(all, by.length ? say("{tag} added", {tag: by.join(", ")}) : say("{tag} removed", {tag}));
    }

    window.distill.edit = edit;
})();
