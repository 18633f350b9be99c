// What captioner and checkpoint say of the captions: a proposal beside what was written, and which words are known.
// Needs distill_chips.js.
(function () {
    "use strict";

    const {one, field, say, write, make, press, recountSoon, bringIntoView, hooks, chips} = window.distill;

    if (window.distill.isDescribing) return;

    const root = () => one("#distill_root");

    /* ---- the captioner ---- */

    let answered = "";
    const answer = () => one("#distill_said [data-described]")?.dataset.described || "";

    function describe(isOn) {
        const button = document.activeElement;
        const wasThere = button?.id === "distill_describe" || button?.id === "distill_describe_stop";
        root().toggleAttribute("data-describing", isOn);
        if (wasThere) one(isOn ? "#distill_describe_stop" : "#distill_describe").focus(); // the other one is shown now
    }

    const mine = () => chips.of("distill_captions");
    const theirs = () => chips.of("distill_proposal");

    function show() {
        const {difference} = chips.told();
        const isOpen = Boolean(difference && field("distill_proposal")?.value);
        if (root().hasAttribute("data-proposal") !== isOpen) {
            root().toggleAttribute("data-proposal", isOpen);
            if (isOpen) bringIntoView("#distill_proposal_box");
        }
        const editor = theirs();
        if (!isOpen || !editor) return;
        const fresh = difference.new.filter((tag) => !editor.taken.has(tag));
        const said = say("Proposed: {new} new, {same} the same, {missing} only in yours", {
            new: fresh.length, same: difference.same.length + editor.taken.size, missing: difference.missing.length,
        });
        if (editor.bar.textContent === said) return;
        editor.bar.replaceChildren(make("span", {}, said));
        editor.say(said);
        one("#distill_take_all").disabled = !fresh.length;
    }

    function takeAll() {
        const {difference} = chips.told();
        mine().insert(difference?.new || []);
        (difference?.new || []).forEach((tag) => theirs().taken.add(tag));
        recountSoon(0);
        chips.redraw();
    }

    /* ---- what the checkpoint knows ---- */

    const isChecking = (words) => ["waiting", "running"].includes(words?.state);
    let words = null, checked = ""; // the picture whose words were checked: verdicts are of one picture only

    function hear(state) {
        words = state.words || null;
        root().toggleAttribute("data-checking", isChecking(words) && Boolean(checked));
        const isOurs = checked && checked === chips.told().picture;
        if (checked && !isOurs && isChecking(words)) press("distill_ground_stop");
        if (!isOurs) checked = "";
        chips.setVerdicts(isOurs && words?.verdicts ? words.verdicts : []);
        drawCheck(isOurs ? words : null);
    }

    function drawCheck(now) {
        const editor = mine();
        if (!editor) return;
        editor.check ??= editor.holder.appendChild(make("div", {class: "distill-check", "aria-live": "polite"}));
        const text = now ? now.error ? `${now.error} ${now.hint}` : now.text : "";
        const share = now?.total ? Math.round(100 * now.done / now.total) : 0;
        const said = JSON.stringify([text, share, isChecking(now)]);
        if (editor.check.dataset.said === said) return;
        editor.check.dataset.said = said;
        editor.check.replaceChildren(...(isChecking(now) ? [bar(share)] : []), text);
        editor.check.classList.toggle("distill-problem", Boolean(now?.error));
    }

    function bar(share) {
        const fill = make("div", {class: "distill-bar-fill", style: `width: ${share}%`});
        return make("div", {class: "distill-bar", role: "progressbar", "aria-label": say("Check words"), "aria-valuenow": share}, fill);
    }

    /* ---- clicks ---- */

    const ACTS = {
        distill_describe: () => { answered = answer(); describe(true); },
        distill_take_all: takeAll,
        distill_dismiss_proposal: () => { write(field("distill_proposal"), ""); recountSoon(0); field("distill_captions").focus(); },
        distill_ground: () => { checked = chips.told().picture || ""; },
    };

    document.addEventListener("click", (event) => ACTS[event.target.closest?.("button")?.id]?.());
    hooks.state.push(hear);
    hooks.beat.push(() => {
        if (root().hasAttribute("data-describing") && answer() !== answered) describe(false);
        show();
    });

    window.distill.isDescribing = () => root().hasAttribute("data-describing");
})();
