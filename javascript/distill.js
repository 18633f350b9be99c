// The browser's part of the Distill tab. The page holds all values; this file presses hidden buttons at the right
// moment and draws what gradio has no component for. distill_chips*.js draw the captions as chips, distill_describe.js
// shows what captioner and checkpoint say of them, distill_use.js is the way to the other tabs.
(function () {
    "use strict";

    if (window.distill) return; // loaded twice, by a page that was built again

    const ACTIVE_MS = 1000, IDLE_MS = 5000, BEAT_MS = 250, TYPING_MS = 350, SETTLED_MS = 2500, GIVE_UP_MS = 10000;
    const RESTS = 3, LONGEST_REST_MS = 5000, UNSEEN_BEATS = 8;

    /* ---- the page ---- */

    const app = () => (typeof window.gradioApp === "function" ? window.gradioApp() : document);
    const within = (selector) => [...(one("#distill_root")?.querySelectorAll(selector) || [])];

    // Looks are many a second: a page that lacks the id would be searched to its end for what is in it.
    function one(selector) {
        const [, id, inner] = /^#([\w-]+)(?: ([^,>+~ ][^,]*))?$/.exec(selector) || [];
        if (!id) return app().querySelector(selector);
        const holder = app().getElementById(id);
        return holder && inner ? holder.querySelector(inner) : holder;
    }

    const press = (id) => one(`#${id}`)?.click();
    const field = (id) => one(`#${id} textarea`) || one(`#${id} input`);

    // The WebUI's own table of translations, where there is one.
    function say(text, values = {}) {
        const said = (window.localization && window.localization[text]) || text;
        return said.replace(/\{(\w+)\}/g, (_, name) => values[name]);
    }

    function write(target, value) {
        if (!target || target.value === String(value)) return;
        target.value = value;
        if (typeof window.updateInput === "function") window.updateInput(target);
        else target.dispatchEvent(new Event("input", {bubbles: true}));
    }

    function make(tag, attributes = {}, ...children) {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
        element.append(...children);
        return element;
    }

    /* ---- what the server says: one element with JSON in an attribute ---- */

    const hooks = {beat: [], state: []}; // of the other files: called at each beat, at each word of the server
    let state = {state: "idle", active: false};
    let heard = "";
    let askedAt = 0, restMs = 0, waiting = false, patience = 1;

    function listen() {
        const said = one("#distill_state [data-distill]")?.dataset.distill;
        if (!said || said === heard) return;
        heard = said;
        // A large page takes its time over each answer: it gets three times as long for everything else.
        if (waiting) restMs = Math.min(LONGEST_REST_MS, RESTS * (Date.now() - askedAt));
        waiting = false;
        patience = 1;
        const before = state;
        state = JSON.parse(said);
        show(before);
    }

    function show(before) {
        const root = one("#distill_root");
        root.dataset.state = state.state;
        root.toggleAttribute("data-active", Boolean(state.active));
        root.toggleAttribute("data-cut-off", Boolean(state.cutOff));
        root.toggleAttribute("data-can-go-on", Boolean(state.goOn));
        root.toggleAttribute("data-saved", Boolean(state.saved));
        bar();
        announce(before);
        hooks.state.forEach((hook) => hook(state));
        if (state.active && state.job !== before.job && before.tick) bringIntoView("#distill_job");
        if (before.active && !state.active && before.job === state.job) {
            recountSoon(); // what it cost is known now
            if (state.saved) refreshCards();
            bringIntoView("#distill_job");
        }
    }

    function bringIntoView(selector) {
        const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
        setTimeout(() => one(selector)?.scrollIntoView({block: "nearest", behavior: calm ? "auto" : "smooth"}), 150);
    }

    // A screen reader hears beginnings, tenths and ends, not every step.
    function announce(before) {
        const live = one("[data-live]");
        if (!live) return;
        const tenth = (s) => (s.total ? Math.floor(10 * s.step / s.total) : 0);
        if (before.state !== state.state || before.job !== state.job || tenth(before) !== tenth(state)) {
            live.textContent = state.text || "";
        }
    }

    const isSeen = (root) => !document.hidden && root.offsetParent !== null;
    const isBusy = () => state.active || ["waiting", "running"].includes(state.words?.state);

    function tick() {
        const root = one("#distill_root");
        if (!root || !isSeen(root)) return;
        const since = Date.now() - askedAt;
        if (waiting ? since < GIVE_UP_MS * patience : since < Math.max(restMs, isBusy() ? ACTIVE_MS : IDLE_MS)) return;
        if (waiting) patience = Math.min(6, 2 * patience); // the server is away: ask less and less often
        askedAt = Date.now();
        waiting = true;
        press("distill_tick");
    }

    /* ---- the bar: the WebUI's own, or ours ---- */

    let barOf = "";

    function bar() {
        const inner = one("#distill_progress [data-bar]");
        if (!inner) return;
        if (typeof window.requestProgress === "function") {
            if (!state.active || barOf === state.task) return;
            barOf = state.task;
            const again = () => setTimeout(() => { barOf = ""; }, 1000); // it gives up on a job that waits long
            window.requestProgress(state.task, inner, null, again);
            return;
        }
        if (!state.active) return inner.replaceChildren();
        const share = state.total ? state.step / state.total : 0;
        let fill = inner.querySelector(".distill-bar-fill");
        if (!fill) {
            fill = make("div", {class: "distill-bar-fill"});
            inner.replaceChildren(make("div", {class: "distill-bar", role: "progressbar", "aria-valuemin": 0, "aria-valuemax": 100}, fill));
        }
        fill.style.width = `${100 * share}%`;
        fill.parentElement.setAttribute("aria-valuenow", Math.round(100 * share));
        fill.parentElement.setAttribute("aria-label", say("Training"));
    }

    /* ---- counting again when something was typed or set ---- */

    const COUNTED = "#distill_right, #distill_settings, #distill_plan_views, #distill_plan_listed";
    let typing = 0, settled = 0;

    function recountSoon(after = TYPING_MS) {
        clearTimeout(typing);
        clearTimeout(settled);
        typing = setTimeout(() => press("distill_recount"), after);
        settled = setTimeout(() => press("distill_recount"), SETTLED_MS); // an older answer may have come last
    }

    function onChanged(event) {
        const target = event.target;
        if (target.type === "file" || target.closest?.(".distill-editor") || !target.closest?.(COUNTED)) return;
        recountSoon();
    }

    /* ---- the filmstrip ---- */

    function choose(lora) {
        write(field("distill_chosen"), lora);
        mark();
    }

    function mark() {
        const tiles = within("#distill_strip [data-lora]");
        if (!tiles.length) return;
        const chosen = field("distill_chosen")?.value;
        const fallback = one("#distill_strip [data-chosen]")?.dataset.chosen;
        const of = tiles.some((tile) => tile.dataset.lora === chosen) ? chosen : fallback;
        for (const tile of tiles) {
            const isChosen = tile.dataset.lora === of;
            if (tile.getAttribute("aria-checked") !== String(isChosen)) tile.setAttribute("aria-checked", isChosen);
            tile.tabIndex = isChosen ? 0 : -1;
        }
    }

    function onStripKey(event) {
        const tile = event.target.closest?.("#distill_strip [data-lora]");
        const way = {ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1}[event.key];
        if (!tile || !way) return;
        event.preventDefault();
        const tiles = within("#distill_strip [data-lora]");
        const next = tiles[(tiles.indexOf(tile) + way + tiles.length) % tiles.length];
        choose(next.dataset.lora);
        next.focus();
    }

    function refreshCards() {
        press("txt2img_lora_extra_refresh");
        press("img2img_lora_extra_refresh");
    }

    /* ---- clicks ---- */

    function onClick(event) {
        const target = event.target.closest?.("button");
        if (!target) return;
        if (target.dataset.lora) choose(target.dataset.lora);
        else if (target.dataset.weight) within("#distill_weight input").forEach((input) => write(input, target.dataset.weight));
        else if (target.id === "distill_discard_ask") {
            const question = "Discard this training? Its files are deleted, epochs included.";
            if (window.confirm(say(question))) press("distill_discard");
        }
    }

    /* ---- start ---- */

    let counted = false, asked = false, beats = 0;

    // gradio keeps room for texts that are empty, and writes their class anew whenever it asks the server about them.
    function tidy(root) {
        for (const block of root.querySelectorAll("[id^=distill_].block, [id^=distill_].gradio-html")) {
            const seconds = block.querySelector(".wrap.hide")?.textContent || ""; // gradio counts them unseen
            const holds = block.textContent.trim() !== seconds.trim() || block.querySelector("input, textarea, svg, img, button, label, [data-bar]");
            block.toggleAttribute("data-distill-empty", !holds);
        }
    }

    function beat() {
        const root = one("#distill_root");
        if (!root || (++beats % UNSEEN_BEATS && !isSeen(root))) return; // another tab has the page's time
        tidy(root);
        listen();
        hooks.beat.forEach((hook) => hook());
        mark();
        tick();
        if (!counted && heard) { // the defaults of the page, once
            counted = true;
            recountSoon();
        }
        if (!asked && state.tick) { // the first word of the server: a job may run since before this page
            asked = true;
            const isBlank = !field("distill_captions")?.value && !one("#distill_picture img");
            if (state.active && isBlank && !window.distill.isGiven) press("distill_restore");
        }
    }

    document.addEventListener("click", onClick);
    document.addEventListener("keydown", onStripKey);
    document.addEventListener("input", onChanged);
    document.addEventListener("change", onChanged);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) askedAt = 0; });
    setInterval(beat, BEAT_MS);

    window.distill = {
        app, one, within, press, field, say, write, make, recountSoon, refreshCards, bringIntoView, hooks,
        size: () => state.size || [],
    };
})();
