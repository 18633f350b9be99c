// Views, a mask and further pictures: what is trained beside the whole picture. A textbox that is never seen holds the
// views as JSON and stays the truth; boxes on the picture and cards beside it read and write it. Boxes, cards, mask and
// further pictures have files of their own. Needs distill_chips.js.
(function () {
    "use strict";

    const {app, one, field, say, write, make, press, recountSoon, hooks} = window.distill;

    if (window.distill.views) return;

    const COLOURS = ["#2e90fa", "#12b76a", "#f79009", "#ee46bc", "#7a5af8", "#06aed4", "#f04438", "#66c61c"];
    const DEFAULT_BOX = [0.25, 0.1, 0.75, 0.6];

    /* ---- the views ---- */

    const history = {now: window.distill.history()};
    let text = null, plan = {picture: "", views: null, repeats: 0}, chosen = "", numbered = 0;

    const textbox = () => field("distill_plan_views");
    const fresh = () => `v${Date.now().toString(36)}${numbered++}`;
    const all = () => plan.views || [];
    const find = (id) => all().find((view) => view.id === id);
    const colour = (view) => COLOURS[all().indexOf(view) % COLOURS.length];

    const whole = (view) => ({name: "", captions: null, repeats: 1, ...view, words: [view.words ?? []].flat(), id: view.id || fresh()});

    function parse(value) {
        try {
            const {picture = "", views = null, repeats = 0} = JSON.parse(value || "{}");
            return {picture, repeats, views: views && views.filter(({box}) => box?.length === 4).map(whole)};
        } catch {
            return {picture: "", views: null, repeats: 0}; // the server says what is wrong with it
        }
    }

    function sync() {
        const target = textbox();
        if (!target || target.value === text) return;
        if (target.value !== written) history.now.note(target.value, false);
        text = target.value;
        plan = parse(text);
        isStale = true;
        recountSoon(); // gradio writes without an event
    }

    let written = null, isStale = true;

    // Quick small changes, as by keys, are one step of undo.
    function put(change, said = "", isQuick = false) {
        plan = {...plan, ...change, picture: board.picture || plan.picture};
        written = text = JSON.stringify(plan);
        history.now.note(text, isQuick);
        write(textbox(), text);
        speak(said);
        draw();
    }

    function change(id, parts, said = "", isQuick = false) {
        put({views: all().map((view) => (view.id === id ? {...view, ...parts} : view))}, said, isQuick);
    }

    function add(box = DEFAULT_BOX) {
        const view = {id: fresh(), name: freeName(), box, words: [], captions: null, repeats: 1};
        chosen = view.id;
        put({views: [...all(), view]}, say("{tag} added", {tag: view.name}));
        return view;
    }

    function freeName() {
        let n = all().length + 1;
        while (all().some((view) => view.name === say("View {n}", {n}))) n += 1;
        return say("View {n}", {n});
    }

    function remove(id) {
        const {name} = find(id);
        put({views: all().filter((view) => view.id !== id)}, say("{tag} removed", {tag: name}));
    }

    function goBack(way) {
        const before = history.now[way]();
        if (before === null) return;
        written = text = before;
        plan = parse(text);
        write(textbox(), text);
        speak(way === "undo" ? say("Undone") : say("Done again"));
        draw();
    }

    function choose(id) {
        if (chosen === id) return;
        chosen = id;
        draw();
    }

    /* ---- the picture they lie on ---- */

    let board = {picture: ""}, heard = "";

    function listen() {
        const said = one("#distill_plan_picture [data-plan]")?.dataset.plan || "";
        if (!said || said === heard) return;
        heard = said;
        board = JSON.parse(said);
        isStale = true;
        if (!board.picture) return; // it may come back
        if (plan.picture && plan.picture !== board.picture && text) {
            written = text = "";
            plan = parse("");
            write(textbox(), "");
        }
        history.now = window.distill.history();
        history.now.note(text || "", false);
        panel?.mask.onPicture(board);
    }

    const minPx = () => window.distill.chips.told().view_min_px || 0; // a folded option may have no field
    const pixels = ([left, upper, right, lower]) => [Math.round((right - left) * board.size[0]), Math.round((lower - upper) * board.size[1])];

    function sizeOf(view) {
        const [width, height] = pixels(view.box);
        return {text: `${width} × ${height} px`, isSmall: Math.min(width, height) < minPx()};
    }

    /* ---- the panel ---- */

    let panel = null;

    class Panel {
        constructor(holder) {
            this.holder = holder;
            this.image = make("img", {alt: "", draggable: "false"});
            this.live = make("div", {class: "distill-unseen distill-plan-live", "aria-live": "polite"});
            this.mask = window.distill.mask(this);
            this.boxes = window.distill.boxes(this);
            this.stage = make("div", {class: "distill-stage"}, this.image, ...this.mask.layers, this.boxes.layer);
            this.empty = make("p", {class: "distill-quiet"}, say("Choose a picture first, then views and a mask are drawn here."));
            this.modes = this.makeModes();
            this.state = make("p", {class: "distill-plan-state distill-quiet"});
            this.cards = make("div", {class: "distill-cards"});
            this.made = new Map(); // id of a view -> its card
            this.tools = this.makeTools();
            this.said = make("div");
            const left = make("div", {class: "distill-plan-left"}, this.modes, this.stage, this.tools, this.mask.tools, this.said);
            this.body = make("div", {class: "distill-plan-body"}, left, make("div", {class: "distill-plan-right"}, this.state, this.cards));
            holder.replaceChildren(this.empty, this.body, this.live);
            holder.addEventListener("keydown", (event) => this.onKey(event));
            this.setMode("views");
        }

        makeModes() {
            const made = make("div", {class: "distill-modes", role: "radiogroup", "aria-label": say("What is drawn")});
            for (const [mode, label] of [["views", say("Draw views")], ["mask", say("Draw the mask")]]) {
                const button = make("button", {type: "button", role: "radio", "data-mode": mode}, label);
                button.addEventListener("click", () => this.setMode(mode));
                button.addEventListener("keydown", (event) => {
                    if (!event.key.startsWith("Arrow")) return;
                    event.preventDefault();
                    this.setMode(mode === "views" ? "mask" : "views");
                    this.modes.querySelector("[aria-checked=true]").focus();
                });
                made.append(button);
            }
            return made;
        }

        setMode(mode) {
            this.mode = mode;
            this.holder.dataset.mode = mode;
            for (const button of this.modes.children) {
                const isOn = button.dataset.mode === mode;
                button.setAttribute("aria-checked", isOn);
                button.tabIndex = isOn ? 0 : -1;
            }
        }

        makeTools() {
            const button = (label, act, shown = label) => {
                const made = make("button", {type: "button", "aria-label": label, title: label}, shown);
                made.addEventListener("click", act);
                return made;
            };
            this.undo = button(say("Undo views"), () => goBack("undo"), "↶");
            this.redo = button(say("Redo views"), () => goBack("redo"), "↷");
            this.none = button(say("No views"), () => put({views: []}, say("No views")));
            this.asOption = button(say("As the option says"), () => put({views: null}, say("As the option says")));
            const propose = button(say("Propose views"), () => press("distill_plan_propose"));
            const adds = button(say("Add a view"), () => {
                const {id} = add();
                this.boxes.focus(id);
            });
            return make("div", {class: "distill-plan-tools", "data-for": "views"}, propose, adds, this.none, this.asOption, this.undo, this.redo);
        }

        onKey(event) {
            const key = event.key.toLowerCase();
            if (!(event.ctrlKey || event.metaKey) || event.altKey || !["z", "y"].includes(key)) return;
            if (event.target.closest("input, textarea, .distill-editor")) return;
            event.preventDefault();
            if (this.mode === "mask") this.mask.undo();
            else goBack(key === "y" || event.shiftKey ? "redo" : "undo");
        }

        draw() {
            this.holder.toggleAttribute("data-empty", !board.picture);
            if (!board.picture) return;
            if (this.image.getAttribute("src") !== board.src) this.image.src = board.src;
            this.stage.style.aspectRatio = `${board.size[0]} / ${board.size[1]}`;
            this.stage.style.setProperty("--shape", board.size[0] / board.size[1]);
            this.boxes.draw(all(), chosen);
            this.state.textContent = stateText();
            this.none.hidden = !(plan.views ? plan.views.length : option());
            this.asOption.hidden = plan.views === null || !option();
            this.undo.disabled = !history.now.canUndo();
            this.redo.disabled = !history.now.canRedo();
            this.drawCards();
        }

        // What the server answered stands by the buttons that asked it.
        hear() {
            const answer = one("#distill_plan_said")?.querySelector(".distill-notes, .distill-problem")?.parentElement.innerHTML || "";
            if (this.answer === answer) return;
            this.answer = answer;
            this.said.innerHTML = answer;
        }

        drawCards() {
            for (const [id, card] of this.made) {
                if (find(id)) continue;
                card.element.remove();
                this.made.delete(id);
            }
            const cards = all().map((view) => {
                if (!this.made.has(view.id)) this.made.set(view.id, window.distill.viewCard(view.id));
                const card = this.made.get(view.id);
                card.draw(view, this.image, chosen === view.id);
                return card.element;
            });
            this.whole ??= window.distill.wholeCard();
            this.whole.draw(plan.repeats, this.image);
            const elements = cards.length || plan.repeats ? [this.whole.element, ...cards] : cards;
            elements.forEach((element, n) => { if (this.cards.children[n] !== element) this.cards.insertBefore(element, this.cards.children[n] || null); });
            while (this.cards.children.length > elements.length) this.cards.lastChild.remove();
        }
    }

    const option = () => window.distill.chips.told().views || "";

    function stateText() {
        if (plan.views?.length) return say("Each view is trained beside the whole picture, with captions of its own.");
        if (plan.views) return say("No views: the whole picture only.");
        if (option()) return say("Nothing is drawn: the option Views proposes {names} when training begins.", {names: option()});
        return say("Nothing is drawn: the whole picture only.");
    }

    function speak(said) {
        if (said && panel) panel.live.textContent = said;
    }

    /* ---- one line that is seen while the panel is folded ---- */

    function drawLine() {
        const holder = one("#distill_plan_line [data-plan-line]");
        if (!holder) return;
        const isOnPicture = Boolean(board.picture);
        const line = [
            isOnPicture && all().length ? say("Views: {n}", {n: all().length}) : "",
            isOnPicture && window.distill.maskText() ? say("Mask drawn") : "",
            window.distill.furtherCount() ? say("Further pictures: {n}", {n: window.distill.furtherCount()}) : "",
        ].filter(Boolean).join(" · ");
        if (holder.textContent !== line) holder.textContent = line;
    }

    /* ---- all of it ---- */

    let noted = "";

    function draw() {
        isStale = false;
        panel?.draw();
        drawLine();
    }

    function beat() {
        const holder = one("#distill_plan_board [data-plan-board]");
        if (holder && panel?.holder !== holder) {
            panel = new Panel(holder);
            isStale = true;
            panel.mask.onPicture(board);
        }
        sync();
        listen();
        panel?.mask.sync();
        panel?.hear();
        window.distill.further.beat();
        const around = JSON.stringify([option(), minPx()]);
        if (isStale || noted !== around) {
            noted = around;
            draw();
        }
        drawLine();
    }

    hooks.beat.push(beat);

    window.distill.views = {
        all, find, add, put, change, remove, choose, colour, sizeOf, minPx, speak, draw,
        board: () => board, chosen: () => find(chosen), plan: () => plan, app,
    };
})();
