// Chips are dragged by mouse, pen or finger, within their editor or as a copy into another. Needs distill_chips.js.
(function () {
    "use strict";

    const {make, chips} = window.distill;

    if (window.distill.drag) return;

    const FAR_PX = 5, LONG_MS = 300, EDGE_PX = 40; // a finger has to rest first: else it scrolls the page

    let dragged = null; // {editor, row, tag, index, x, y, ghost, mark, to}

    function drag(editor) {
        editor.box.addEventListener("pointerdown", (event) => press(editor, event));
        editor.box.addEventListener("touchmove", (event) => { if (dragged?.ghost) event.preventDefault(); }, {passive: false});
        editor.box.addEventListener("contextmenu", (event) => { if (dragged) event.preventDefault(); });
    }

    function press(editor, event) {
        const row = event.target.closest("[data-index], [data-offer]");
        if (!row || dragged || editor.isHeld || event.button !== 0 || event.target.closest("button, input")) return;
        const index = editor.indexOf(row);
        row.focus({preventScroll: true}); // what was being added becomes a tag now, and all is drawn anew
        editor.isHeld = true; // from here on a new drawing would take the chip from under the pointer
        const pressed = row.isConnected ? row : editor.rowOf(index);
        dragged = {editor, row: pressed, tag: row.dataset.tag, index, x: event.clientX, y: event.clientY, id: event.pointerId};
        if (event.pointerType === "touch") dragged.resting = setTimeout(() => begin(dragged.x, dragged.y), LONG_MS);
        else event.preventDefault(); // no text is marked meanwhile
    }

    function begin(x, y) {
        const {editor, row} = dragged;
        const {width, height} = row.getBoundingClientRect();
        dragged.ghost = row.cloneNode(true);
        dragged.ghost.classList.add("distill-chip-ghost");
        dragged.ghost.removeAttribute("role");
        dragged.ghost.style.cssText = `width: ${width}px; height: ${height}px;`;
        dragged.mark = make("div", {class: "distill-mark", "aria-hidden": "true"});
        row.classList.add("distill-chip-dragged");
        editor.holder.append(dragged.ghost);
        follow(x, y);
    }

    function move(event) {
        if (!dragged || event.pointerId !== dragged.id) return;
        if (event.pointerType === "mouse" && !event.buttons) return drop(false); // let go outside of the window
        const isFar = Math.hypot(event.clientX - dragged.x, event.clientY - dragged.y) > FAR_PX;
        if (!dragged.ghost && isFar) {
            if (dragged.resting) return drop(false); // this finger scrolls
            begin(event.clientX, event.clientY);
        }
        if (dragged.ghost) follow(event.clientX, event.clientY);
    }

    function follow(x, y) {
        const {ghost, mark} = dragged;
        ghost.style.transform = `translate(${x + 6}px, ${y + 6}px)`;
        if (y < EDGE_PX) window.scrollBy(0, -12);
        else if (y > window.innerHeight - EDGE_PX) window.scrollBy(0, 12);
        dragged.to = target(x, y);
        if (!dragged.to) return mark.remove();
        const {editor, row, isBehind} = dragged.to;
        const frame = editor.box.getBoundingClientRect();
        const at = row ? row.getBoundingClientRect() : {left: frame.left + 6, top: frame.top + 6, height: 24, right: frame.left + 6};
        mark.style.cssText = `left: ${(isBehind ? at.right + 1 : at.left - 4) - frame.left}px; top: ${at.top - frame.top}px; height: ${at.height}px;`;
        if (mark.parentElement !== editor.box) editor.box.append(mark);
    }

    // Which editor is under the pointer, and in front of which of its chips (else behind the last) one would drop.
    function target(x, y) {
        const editor = [...chips.editors.values()].find((other) => {
            const {left, right, top, bottom} = other.box.getBoundingClientRect();
            return !other.isTaking && x >= left && x <= right && y >= top - 8 && y <= bottom + 8;
        });
        if (!editor) return null;
        const rows = editor.rows().filter((row) => editor.indexOf(row) !== undefined);
        const before = rows.find((row) => {
            const {left, width, top, bottom} = row.getBoundingClientRect();
            return y < top - 3 || (y <= bottom + 3 && x < left + width / 2);
        });
        if (before) return {editor, row: before, index: editor.indexOf(before)};
        return {editor, row: rows.at(-1), isBehind: true, index: editor.tags.length};
    }

    function drop(isKept) {
        const {editor, row, tag, index, ghost, mark, to, resting} = dragged;
        clearTimeout(resting);
        dragged = null;
        editor.isHeld = false;
        if (!ghost) return editor.sync();
        ghost.remove();
        mark.remove();
        row.classList.remove("distill-chip-dragged");
        editor.isStale = true;
        if (isKept && to?.editor === editor) editor.move(index, to.index);
        else if (isKept && to) {
            to.editor.insert([tag], to.index);
            if (editor.isTaking) editor.taken.add(tag);
        }
        editor.sync();
    }

    function onKey(event) {
        if (event.key !== "Escape" || !dragged?.ghost) return;
        event.stopPropagation();
        drop(false);
    }

    document.addEventListener("pointermove", move);
    document.addEventListener("pointerup", (event) => { if (event.pointerId === dragged?.id) drop(true); });
    document.addEventListener("pointercancel", (event) => { if (event.pointerId === dragged?.id) drop(false); });
    document.addEventListener("keydown", onKey, true);

    window.distill.drag = drag;
})();
