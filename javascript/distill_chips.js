// Captions as chips over any number of textboxes; a textbox stays the truth, the chips read and write it. Where the
// chips of a textbox stand says [data-chips-for], whether they are edited or taken from says [data-mode].
// Drawing, adding, editing, dragging and undoing have files of their own. Needs distill.js.
(function () {
    "use strict";

    const {one, within, field, say, write, make, recountSoon, hooks} = window.distill;

    if (window.distill.chips) return;

    /* ---- tags ---- */

    const parse = (text) => text.split(/[,\n\r，、]+/).map((tag) => tag.trim()).filter(Boolean);

    // Tags that are equal for the server (captions/tags.py) are equal here.
    function plain(tag) {
        const weighted = tag.normalize("NFC").trim().toLowerCase().replace(/^[([{]+([^()[\]{}]+?)(:\s*[0-9.]+)?[)\]}]+$/, "$1");
        const spaced = weighted.replace(/\\/g, "").replace(/[\s_-]+/g, " ").replace(/^[. ]+|[. ]+$/g, "");
        return spaced || tag.trim(); // -_- is a tag, too
    }

    /* ---- what the server knows of tags; between two answers what it said before holds ---- */

    const known = new Map(); // plain tag -> {group, identity, several, in_first}
    let told = {}, heard = "", verdicts = new Map();

    const group = (tag) => known.get(plain(tag))?.group || guess(tag);
    const title = (name) => name.charAt(0).toUpperCase() + name.slice(1);
    const words = () => window.distill.words.byGroup();

    // Until the server has told: the last known word decides, as it does there.
    function guess(tag) {
        for (const word of plain(tag).split(" ").reverse()) {
            const found = Object.entries(words()).find(([name, all]) => name !== "other" && all.includes(word));
            if (found) return found[0];
        }
        return "";
    }

    function listen() {
        const said = one("#distill_counter [data-captions]")?.dataset.captions;
        if (!said || said === heard) return;
        heard = said;
        told = JSON.parse(said);
        for (const fact of told.tags || []) known.set(plain(fact.tag), fact);
        editors.forEach((editor) => editor.taken.clear());
        redraw();
    }

    function setVerdicts(list) {
        if (JSON.stringify(list) === JSON.stringify([...verdicts.values()])) return;
        verdicts = new Map(list.map((verdict) => [plain(verdict.tag), verdict]));
        redraw();
    }

    /* ---- one editor ---- */

    const editors = new Map(); // holder -> editor

    class Editor {
        constructor(holder) {
            this.holder = holder;
            this.id = holder.dataset.chipsFor;
            this.isTaking = holder.dataset.mode === "take";
            this.isCounted = !holder.dataset.label;
            this.text = null;
            this.tags = [];
            this.active = 0; // the row that Tab comes to
            this.taken = new Set(); // of a proposal, until the server has compared again
            this.isHeld = false; // while a tag is edited or dragged nothing is drawn anew
            this.history = window.distill.history();
            this.build();
        }

        build() {
            const help = `${this.id}_keys`;
            this.grid = make("div", {class: "distill-grid", role: "grid", "aria-label": this.holder.dataset.label || say("Tags"), "aria-describedby": help});
            this.live = make("div", {class: "distill-unseen", "aria-live": "polite"});
            this.bar = make("div", {class: "distill-editor-bar"});
            const keys = this.isTaking
                ? say("Arrow keys go from tag to tag, Enter takes one.")
                : say("Arrow keys go from tag to tag, with Alt they move it, Enter edits, Delete removes, a letter adds.");
            this.box = make("div", {class: "distill-chips"}, this.grid);
            this.holder.replaceChildren(this.bar, this.box, this.live, make("div", {id: help, hidden: ""}, keys));
            this.grid.addEventListener("keydown", (event) => this.onKey(event));
            this.grid.addEventListener("click", (event) => this.onClick(event));
            this.grid.addEventListener("dblclick", (event) => window.distill.edit(this, this.indexOf(event.target)));
            this.grid.addEventListener("focusin", (event) => this.onFocus(event));
            window.distill.drag(this);
            if (this.isTaking) return;
            this.adder = window.distill.adder(this);
            this.box.append(this.adder.element);
            this.buttons = this.makeButtons();
            this.bar.append(make("span", {class: "distill-quiet"}, say("Tags")), ...Object.values(this.buttons));
            this.holder.addEventListener("keydown", (event) => this.onUndoKey(event));
        }

        makeButtons() {
            const button = (label, shown, act) => {
                const made = make("button", {type: "button", "aria-label": label, title: label}, shown);
                made.addEventListener("click", act);
                return made;
            };
            return {
                undo: button(say("Undo"), "↶", () => this.goBack("undo")),
                redo: button(say("Redo"), "↷", () => this.goBack("redo")),
                sort: button(say("Sort by group"), say("Sort by group"), () => this.sort()),
            };
        }

        /* the text */

        sync() {
            const target = field(this.id);
            if (!target) return;
            if (target.value !== this.text) {
                this.history.note(target.value, document.activeElement === target);
                this.text = target.value;
                this.tags = parse(this.text);
                this.isStale = true;
            }
            if (this.isStale && !this.isHeld) window.distill.draw(this);
        }

        // What somebody else wrote is where undo begins.
        forget() {
            this.history = window.distill.history();
            this.text = null;
            this.sync();
        }

        put(tags, said = "") {
            write(field(this.id), tags.join(", "));
            this.sync();
            this.say(said);
            recountSoon();
        }

        say(sentence) {
            if (sentence) this.live.textContent = sentence;
        }

        goBack(way) {
            const text = this.history[way]();
            if (text === null) return;
            write(field(this.id), text);
            this.sync();
            this.say(way === "undo" ? say("Undone") : say("Done again"));
            recountSoon();
        }

        /* what is done to tags; indexes are those of the text, in which the class may stand, too */

        isInFirst(tag) {
            return Boolean(told.first && known.get(plain(tag))?.in_first); // the first chip says it
        }

        has(tag) {
            return this.tags.some((other) => plain(other) === plain(tag));
        }

        // In front of the tag at `index`; without one behind those of its group, else at the end.
        insert(tags, index = null) {
            const fresh = tags.filter((tag) => !this.has(tag));
            const all = [...this.tags];
            for (const tag of fresh) {
                const last = group(tag) ? all.findLastIndex((other) => group(other) === group(tag)) : -1;
                all.splice(index === null ? (last < 0 ? all.length : last + 1) : index++, 0, tag);
            }
            if (fresh.length) this.put(all, say("{tag} added", {tag: fresh.join(", ")}));
            else if (tags.length) this.say(say("{tag} is there already", {tag: tags.join(", ")}));
        }

        remove(index) {
            const row = this.rows().findIndex((other) => Number(other.dataset.index) === index);
            this.put(this.tags.filter((_, i) => i !== index), say("{tag} removed", {tag: this.tags[index]}));
            if (this.rows().length) this.focusRow(Math.min(row, this.rows().length - 1));
            else this.adder.input.focus();
        }

        // To where the tag at `to` stands (its length: to the end).
        move(from, to) {
            const all = [...this.tags], tag = all[from];
            if (to === from || to === from + 1) return;
            all.splice(to, 0, tag);
            all.splice(from < to ? from : from + 1, 1);
            const index = from < to ? to - 1 : to;
            const shown = all.map((_, i) => i).filter((i) => !this.isInFirst(all[i]));
            const n = shown.indexOf(index) + 1;
            this.put(all, say("{tag} moved to {n} of {all}", {tag, n, all: shown.length}));
            this.focusIndex(index);
        }

        sort() {
            const order = Object.keys(words());
            const rank = (tag) => (order.indexOf(group(tag)) + order.length) % order.length; // unknown: the last, `other`
            this.put([...this.tags].sort((a, b) => rank(a) - rank(b)), say("Sorted by group"));
        }

        /* the keyboard */

        rows() {
            return [...this.grid.querySelectorAll("[role=row]")];
        }

        rowOf(index) {
            return this.grid.querySelector(`[data-index="${index}"]`);
        }

        indexOf(element) {
            const index = element.closest?.("[data-index]")?.dataset.index;
            return index === undefined ? undefined : Number(index);
        }

        focusIndex(index) {
            const row = this.rows().indexOf(this.rowOf(index));
            if (row >= 0) this.focusRow(row);
        }

        focusRow(n) {
            const rows = this.rows();
            if (n >= rows.length && this.adder) return this.adder.input.focus();
            rows[Math.max(0, Math.min(n, rows.length - 1))]?.focus();
        }

        // Out of a proposal into what was written.
        take(row) {
            const tag = row.dataset.tag;
            if (!row.classList.contains("distill-chip-new")) return false;
            of("distill_captions").insert([tag]);
            this.taken.add(tag);
            this.isStale = true;
            this.sync();
            recountSoon(0);
            return true;
        }

        onFocus(event) {
            const row = event.target.closest("[role=row]");
            const rows = this.rows();
            if (!row) return;
            this.active = rows.indexOf(row);
            rows.forEach((other) => { other.tabIndex = other === row ? 0 : -1; });
        }

        onKey(event) {
            const row = event.target.closest("[role=row]");
            if (!row || event.isComposing || event.target.tagName === "INPUT") return;
            const isDone = event.ctrlKey || event.metaKey ? false : event.altKey ? this.onMoveKey(event, row) : this.onPlainKey(event, row);
            if (!isDone) return;
            event.preventDefault();
            event.stopPropagation();
        }

        onMoveKey(event, row) {
            const way = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
            const index = this.indexOf(row);
            if (!way || this.isTaking) return false;
            const other = this.indexOf(this.rows()[this.rows().indexOf(row) + way] || this.grid);
            if (index === undefined) this.say(row.title);
            else if (other !== undefined) this.move(index, way > 0 ? other + 1 : other);
            return true;
        }

        onPlainKey(event, row) {
            const n = this.rows().indexOf(row), index = this.indexOf(row);
            const goes = {ArrowRight: n + 1, ArrowDown: n + 1, ArrowLeft: n - 1, ArrowUp: n - 1, Home: 0, End: this.rows().length - 1};
            if (event.key in goes) this.focusRow(goes[event.key]);
            else if (this.isTaking) return ["Enter", " ", "+"].includes(event.key) && this.take(row);
            else if (["Enter", "F2", "Delete", "Backspace"].includes(event.key)) {
                if (index === undefined) this.say(row.title);
                else if (["Enter", "F2"].includes(event.key)) window.distill.edit(this, index);
                else this.remove(index);
            } else if (event.key.length === 1 && event.key !== " ") this.adder.begin(event.key);
            else return false;
            return true;
        }

        onUndoKey(event) {
            const way = wayOf(event);
            if (!way || event.target.value) return; // the browser's own, while one types
            event.preventDefault();
            event.stopPropagation();
            this.goBack(way);
            if (event.target.closest("[role=row]")) this.focusRow(Math.min(this.active, this.rows().length - 1));
        }

        onClick(event) {
            const button = event.target.closest("button");
            const row = event.target.closest("[role=row]");
            if (button?.dataset.remove !== undefined) this.remove(Number(button.dataset.remove));
            else if (button?.dataset.take !== undefined) this.take(row);
            else if (row && event.target.tagName !== "INPUT") row.focus();
        }
    }

    /* ---- all of them ---- */

    function beat() {
        for (const holder of within("[data-chips-for]")) {
            if (!editors.has(holder) && field(holder.dataset.chipsFor)) editors.set(holder, new Editor(holder));
        }
        for (const holder of editors.keys()) {
            if (!holder.isConnected) editors.delete(holder); // the page was drawn anew
        }
        listen();
        editors.forEach((editor) => editor.sync());
    }

    function redraw() {
        editors.forEach((editor) => { editor.isStale = true; editor.sync(); });
    }

    const of = (id) => [...editors.values()].find((editor) => editor.id === id);

    // Ctrl+Z is undo, with Shift or as Ctrl+Y redo.
    function wayOf(event) {
        const key = event.key.toLowerCase();
        if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return null;
        return key === "y" || event.shiftKey ? "redo" : "undo";
    }

    // In the box the browser undoes what was typed; what the chips did only we can.
    function onBoxKey(event) {
        const editor = of(event.target.closest?.(".distill-caption-box")?.id);
        if (!editor || editor.isTaking || editor.history.isTyped() || !wayOf(event)) return;
        event.preventDefault();
        editor.goBack(wayOf(event));
    }

    document.addEventListener("input", (event) => of(event.target.closest?.(".distill-caption-box")?.id)?.sync());
    document.addEventListener("keydown", onBoxKey);
    hooks.beat.push(beat);

    window.distill.chips = {
        Editor, editors, of, parse, plain, group, title, setVerdicts, redraw,
        told: () => told, known: () => [...known.keys()], facts: (tag) => known.get(plain(tag)), verdict: (tag) => verdicts.get(plain(tag)),
    };
})();
