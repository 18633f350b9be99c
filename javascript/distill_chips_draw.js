// How chips look: runs of one group, what each has to tell, where the model stops reading. Needs distill_chips.js.
(function () {
    "use strict";

    const {say, make, chips} = window.distill;

    if (window.distill.draw) return;

    function draw(editor) {
        const at = editor.rows().findIndex((row) => row === document.activeElement);
        editor.isStale = false;
        editor.grid.replaceChildren(...(editor.isTaking ? proposed(editor) : written(editor)));
        editor.rows().forEach((row, n) => { row.tabIndex = n === Math.min(editor.active, editor.rows().length - 1) ? 0 : -1; });
        if (at >= 0) editor.focusRow(Math.min(at, editor.rows().length - 1));
        if (!editor.buttons) return;
        editor.buttons.undo.disabled = !editor.history.canUndo();
        editor.buttons.redo.disabled = !editor.history.canRedo();
        editor.buttons.sort.disabled = editor.tags.length < 2;
    }

    /* ---- what was written ---- */

    function written(editor) {
        const {first = "", ...rest} = chips.told();
        const cut = editor.isCounted ? rest.cut : ""; // of the picture's captions only
        const cutFrom = cut ? editor.tags.findIndex((tag) => chips.plain(tag) === chips.plain(cut)) : -1;
        const shown = editor.tags.map((tag, index) => ({tag, index})).filter(({tag}) => !editor.isInFirst(tag));
        const made = first ? [pinned(first)] : [];
        const beyond = cutFrom < 0 ? shown.length : shown.findIndex(({index}) => index >= cutFrom);
        made.push(...runs(shown.slice(0, beyond).map((item) => chip(editor, item, false))));
        if (beyond < shown.length) {
            const line = make("div", {class: "distill-cut", "aria-hidden": "true"}, say("The model reads to here"));
            made.push(line, ...runs(shown.slice(beyond).map((item) => chip(editor, item, true))));
        }
        return made;
    }

    function pinned(first) {
        const why = say("Trigger and class: always first");
        const attributes = {class: "distill-chip distill-chip-first", role: "row", title: why, "aria-label": `${first}. ${why}`};
        const row = make("div", attributes, make("span", {role: "gridcell"}, first));
        return make("div", {role: "rowgroup", class: "distill-run"}, row);
    }

    function chip(editor, {tag, index}, isCut) {
        const {classes, remarks} = told(editor, tag, index);
        if (isCut) {
            classes.push("distill-chip-cut");
            remarks.push(say("Beyond what the model reads"));
        }
        const label = say("Remove {tag}", {tag});
        const remove = make("button", {type: "button", tabindex: -1, "data-remove": index, "aria-label": label, title: label}, "×");
        return row({tag, classes, remarks, button: remove, "data-index": index});
    }

    // What a chip has to tell beside its words.
    function told(editor, tag, index) {
        const facts = chips.facts(tag) || {};
        const isDouble = editor.tags.findIndex((other) => chips.plain(other) === chips.plain(tag)) < index;
        const cases = [
            [chips.told().locked && facts.identity, "held", () => say("Held by the trigger: left out of the training captions")],
            [facts.group === "artifacts", "kept", () => say("Kept on purpose: what is named can be left out of pictures later")],
            [facts.several, "several", () => say("More than one person: the LoRA will mix them")],
            [isDouble, "double", () => say("Said already: it counts once")],
        ].filter(([is]) => is);
        return {classes: cases.map(([, name]) => `distill-chip-${name}`), remarks: cases.map(([, , sentence]) => sentence())};
    }

    function row({tag, classes = [], remarks = [], button = null, ...more}) {
        const verdict = chips.verdict(tag);
        const text = make("span", {role: "gridcell", class: "distill-chip-text"}, tag);
        if (verdict) {
            text.append(make("i", {class: "distill-meter", "data-verdict": verdict.verdict, "aria-hidden": "true"}));
            remarks.push(verdict.advice || verdictWord(verdict.verdict));
        }
        const spoken = [tag, say(chips.title(chips.group(tag))), ...remarks].filter(Boolean).join(". ");
        const made = make("div", {class: ["distill-chip", ...classes].join(" "), role: "row", "aria-label": spoken, ...more}, text);
        if (remarks.length) made.title = remarks.join("\n");
        if (button) made.append(make("span", {role: "gridcell"}, button));
        made.dataset.tag = tag;
        return made;
    }

    function verdictWord(verdict) {
        return {known: say("Known by the checkpoint"), weak: say("Weakly known by the checkpoint"), unknown: say("Unknown to the checkpoint")}[verdict] || verdict;
    }

    // Neighbours of one group stand behind its name; a name and its first chip are not parted by a line's end.
    function runs(rows) {
        const made = [];
        let before = null;
        for (const row of rows) {
            const group = chips.group(row.dataset.tag);
            if (group === before && made.length) {
                made.at(-1).append(row);
                continue;
            }
            before = group;
            const run = make("div", {role: "rowgroup", class: "distill-run"}, row);
            if (group && group !== "other") {
                const name = say(chips.title(group));
                run.setAttribute("aria-label", name);
                run.prepend(make("div", {class: "distill-run-head", role: "presentation"}, make("span", {class: "distill-run-label", "aria-hidden": "true"}, name), row));
            }
            made.push(run);
        }
        return made;
    }

    /* ---- what a captioner proposes, beside what was written ---- */

    function proposed(editor) {
        const {difference} = chips.told();
        if (!difference) return [];
        const isNew = (tag) => difference.new.includes(tag) && !editor.taken.has(tag);
        const rows = chips.parse(editor.text || "").map((tag) => (isNew(tag) ? offered(tag) : same(tag)));
        const made = runs(rows);
        if (!difference.missing.length) return made;
        const label = say("Only in yours, and it stays");
        const mine = difference.missing.map((tag) => row({tag, classes: ["distill-chip-missing"], remarks: [label]}));
        const list = make("div", {role: "rowgroup", class: "distill-run", "aria-label": label}, ...mine);
        return [...made, make("div", {class: "distill-missing", "aria-hidden": "true"}, label), list];
    }

    function offered(tag) {
        const label = say("Take {tag}", {tag});
        const take = make("button", {type: "button", tabindex: -1, "data-take": "", "aria-label": label, title: label}, "+");
        return row({tag, classes: ["distill-chip-new"], remarks: [say("New")], button: take, "data-offer": tag});
    }

    const same = (tag) => row({tag, classes: ["distill-chip-same"], remarks: [say("In yours, too")], "data-offer": tag});

    window.distill.draw = draw;
})();
