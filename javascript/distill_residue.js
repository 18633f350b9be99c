// What is in a LoRA without captions: while it is looked for "Stop looking" stands there, and what is found is added to
// the captions by a click. Needs distill_chips.js.
(function () {
    "use strict";

    const {one, within, hooks, chips, recountSoon} = window.distill;

    if (window.distill.isLooking) return;

    const root = () => one("#distill_root");
    const box = () => one("#distill_residue_found [data-residue]");
    const answer = () => box()?.dataset.residue || "";

    let answered = "";

    function look(isOn) {
        const button = document.activeElement;
        const wasThere = ["distill_residue", "distill_residue_stop"].includes(button?.id);
        root().toggleAttribute("data-looking", isOn);
        if (wasThere) one(isOn ? "#distill_residue_stop" : "#distill_residue").focus(); // the other one is shown now
    }

    function add(button) {
        chips.of("distill_captions").insert([button.dataset.residueAdd]);
        recountSoon(0);
        mark();
    }

    // What stands in the captions by now can't be added once more.
    function mark() {
        const mine = chips.of("distill_captions");
        if (!mine) return;
        for (const button of within("[data-residue-add]")) {
            const isThere = mine.has(button.dataset.residueAdd);
            if (button.disabled !== isThere) button.disabled = isThere;
        }
    }

    // An answer is of one job only.
    function hear(state) {
        const found = box();
        if (found?.dataset.job) found.hidden = found.dataset.job !== state.job;
    }

    document.addEventListener("click", (event) => {
        const button = event.target.closest?.("button");
        if (button?.id === "distill_residue") {
            answered = answer();
            look(true);
        } else if (button?.dataset.residueAdd) add(button);
    });
    hooks.state.push(hear);
    hooks.beat.push(() => {
        if (root().hasAttribute("data-looking") && answer() && answer() !== answered) look(false);
        mark();
    });

    window.distill.isLooking = () => root().hasAttribute("data-looking");
})();
