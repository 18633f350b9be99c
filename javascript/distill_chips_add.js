// A field behind the chips that completes tags: a combobox with a listbox, as ARIA describes it. Needs distill_chips.js.
(function () {
    "use strict";

    const {one, say, make, chips} = window.distill;

    if (window.distill.adder) return;

    const SHOWN = 8;

    /* ---- words ---- */

    let vocabulary = null;

    // By group, the groups in the order of a caption.
    function byGroup() {
        vocabulary ??= JSON.parse(one("#distill_vocabulary [data-words]")?.dataset.words || "{}");
        return vocabulary;
    }

    // Tags that were seen before words, whole beginnings before later words; the last words of "long red ha" are
    // completed, too.
    function suggestions(query, editor) {
        const text = query.toLowerCase().trimStart();
        if (!text.trim()) return [];
        const all = [...chips.known(), ...(byGroup().other || []), ...Object.values(byGroup()).flat()];
        const begins = all.filter((tag) => tag.startsWith(text) && tag !== text);
        const holds = all.filter((tag) => tag.includes(` ${text}`));
        const [, before, last] = text.match(/^(.*\s)(\S+)$/) || [];
        const completed = last ? all.filter((tag) => !tag.includes(" ") && tag.startsWith(last) && tag !== last).map((tag) => before + tag) : [];
        return [...new Set([...begins, ...completed, ...holds])].filter((tag) => !editor.has(tag)).slice(0, SHOWN);
    }

    /* ---- the field ---- */

    class Adder {
        constructor(editor) {
            const id = `${editor.id}_add`;
            this.editor = editor;
            this.found = [];
            this.chosen = -1;
            this.list = make("ul", {id: `${id}_list`, role: "listbox", "aria-label": say("Suggestions"), class: "distill-suggestions", hidden: ""});
            this.input = make("input", {
                id, type: "text", class: "distill-add-input", role: "combobox", autocomplete: "off", autocapitalize: "off",
                "aria-expanded": "false", "aria-autocomplete": "list", "aria-controls": `${id}_list`,
                "aria-label": say("Add a tag"), placeholder: say("Add a tag"), enterkeyhint: "done",
            });
            this.element = make("div", {class: "distill-add"}, this.input, this.list);
            this.input.addEventListener("input", (event) => this.onInput(event));
            this.input.addEventListener("compositionend", (event) => this.onInput(event));
            this.input.addEventListener("keydown", (event) => this.onKey(event));
            this.input.addEventListener("blur", () => this.finish());
            this.list.addEventListener("pointerdown", (event) => this.onPick(event));
        }

        begin(letter) {
            this.input.focus();
            this.input.value += letter;
            this.suggest();
        }

        onInput(event) {
            if (event.isComposing) return;
            if (/[,\n\r，、]/.test(this.input.value)) this.finish();
            else this.suggest();
        }

        // What is typed becomes tags, none of it is lost.
        finish() {
            const tags = chips.parse(this.input.value);
            this.input.value = "";
            this.close();
            if (tags.length) this.editor.insert(tags, this.editor.tags.length);
        }

        accept() {
            if (this.chosen >= 0) this.input.value = this.found[this.chosen];
            this.finish();
        }

        suggest() {
            this.found = suggestions(this.input.value, this.editor);
            this.list.replaceChildren(...this.found.map((tag, n) => {
                const group = chips.group(tag);
                const name = group && group !== "other" ? make("small", {}, say(chips.title(group))) : "";
                return make("li", {id: `${this.input.id}_${n}`, role: "option", "data-n": n, "aria-selected": "false"}, make("span", {}, tag), name);
            }));
            this.list.hidden = !this.found.length;
            this.input.setAttribute("aria-expanded", String(!this.list.hidden));
            this.choose(-1);
        }

        choose(n) {
            this.chosen = n;
            [...this.list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === n)));
            if (n >= 0) this.input.setAttribute("aria-activedescendant", `${this.input.id}_${n}`);
            else this.input.removeAttribute("aria-activedescendant");
        }

        close() {
            this.found = [];
            this.list.hidden = true;
            this.input.setAttribute("aria-expanded", "false");
            this.choose(-1);
        }

        onPick(event) {
            const option = event.target.closest("[role=option]");
            if (!option) return;
            event.preventDefault(); // the field keeps the focus
            this.choose(Number(option.dataset.n));
            this.accept();
        }

        onKey(event) {
            if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
            const isDone = this.onListKey(event.key) || this.onFieldKey(event.key);
            if (!isDone) return;
            event.preventDefault();
            event.stopPropagation();
        }

        onListKey(key) {
            const count = this.found.length;
            if (key === "Escape" && count) this.close();
            else if (key === "ArrowDown" && count) this.choose((this.chosen + 1) % count);
            else if (key === "ArrowUp" && count) this.choose((Math.max(this.chosen, 0) + count - 1) % count);
            else if (key === "Tab" && this.chosen >= 0) this.accept();
            else return false;
            return true;
        }

        onFieldKey(key) {
            if (["Enter", ","].includes(key)) this.accept();
            else if (["ArrowLeft", "ArrowUp", "Backspace"].includes(key) && !this.input.value) this.editor.focusRow(this.editor.rows().length - 1);
            else return false;
            return true;
        }
    }

    window.distill.words = {byGroup};
    window.distill.adder = (editor) => new Adder(editor);
})();
