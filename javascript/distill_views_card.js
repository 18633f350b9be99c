// What belongs to a view or a further picture, on a card: a small picture, captions, repeats. Needs distill_views.js.
(function () {
    "use strict";

    const {one, field, say, write, make, press, chips, views, hooks} = window.distill;

    if (window.distill.viewCard) return;

    const THUMBNAIL_PX = 160;

    /* ---- parts of a card ---- */

    function labelled(label, input) {
        return make("label", {}, make("span", {}, label), input);
    }

    // A field whose text is not touched while somebody types in it.
    function show(input, value) {
        if (document.activeElement !== input && input.value !== String(value)) input.value = value;
    }

    // Chips over a textbox of the card's own, as over that of the picture.
    function captions(id, label, onInput) {
        const area = make("textarea", {"aria-label": label, tabindex: -1});
        const box = make("div", {id, class: "distill-caption-box distill-hidden"}, area);
        area.addEventListener("input", () => onInput(area.value));
        const editor = make("div", {class: "distill-editor", "data-chips-for": id, "data-mode": "edit", "data-label": label});
        return {area, element: make("div", {class: "distill-card-captions"}, editor, box)};
    }

    function repeats(onChange, placeholder = "") {
        const input = make("input", {type: "number", min: 0, max: 1000, step: 1, placeholder, inputmode: "numeric"});
        input.addEventListener("change", () => {
            const given = Math.round(Number(input.value));
            onChange(input.value.trim() && given >= 0 && given <= 1000 ? given : null);
        });
        return input;
    }

    function button(label, shown, act) {
        const made = make("button", {type: "button", "aria-label": label, title: label}, shown);
        made.addEventListener("click", act);
        return made;
    }

    /* ---- a view ---- */

    // What a view says unless other captions are written: its words, then what of the picture's captions it can show.
    // The server knows that; until it has told of these captions and words, what it said before stands.
    let asked = "", told = {}, heard = "";

    function inherited(view) {
        const isOfThese = told.of === (field("distill_captions")?.value || "") && told.views.length === views.all().length;
        return isOfThese ? told.views[views.all().indexOf(view)] : undefined;
    }

    function beat() {
        const said = one("#distill_plan_inherited [data-plan]")?.dataset.plan || "";
        if (said && said !== heard) {
            heard = said;
            told = JSON.parse(said);
            views.draw();
        }
        const now = JSON.stringify([field("distill_captions")?.value, ...views.all().map(({id, words}) => [id, words])]);
        if (now === asked || !views.all().length) return;
        asked = now;
        setTimeout(() => press("distill_plan_inherit"), 100);
    }

    hooks.beat.push(beat);

    class ViewCard {
        constructor(id) {
            this.id = id;
            this.canvas = make("canvas", {"aria-hidden": "true"});
            this.name = make("input", {type: "text", maxlength: 60, class: "distill-card-name", "aria-label": say("Name of the view")});
            this.size = make("span", {class: "distill-card-size"});
            this.words = make("input", {type: "text", placeholder: "close-up", maxlength: 300});
            this.repeats = repeats((n) => this.change({repeats: n ?? 1}));
            this.captions = captions(`distill_view_${id}`, say("Captions of the view"), (text) => this.write(text));
            this.own = make("span", {class: "distill-quiet"}, say("Captions of its own"));
            this.back = button(say("As the picture"), say("As the picture"), () => this.change({captions: null}));
            const remove = button(say("Remove the view"), "×", () => views.remove(id));
            remove.className = "distill-card-remove";
            this.wordsLabel = labelled(say("Words"), this.words);
            const facts = make("div", {class: "distill-card-fields"}, this.wordsLabel, labelled(say("Repeats"), this.repeats));
            const head = make("div", {class: "distill-card-head"}, this.canvas, make("div", {}, this.name, this.size, facts), remove);
            const foot = make("div", {class: "distill-card-foot", "data-for": "view"}, this.own, this.back);
            this.element = make("div", {class: "distill-card", role: "group"}, head, this.captions.element, foot);
            this.name.addEventListener("input", () => this.change({name: this.name.value}, true));
            this.words.addEventListener("input", () => this.change({words: chips.parse(this.words.value)}, true));
            this.element.addEventListener("focusin", () => views.choose(id));
        }

        change(parts, isQuick = false) {
            views.change(this.id, parts, "", isQuick);
        }

        write(text) {
            const view = views.find(this.id);
            const given = text === this.inherited ? null : text;
            if (view && given !== (view.captions ?? null)) this.change({captions: given});
        }

        draw(view, image, isChosen) {
            const {text, isSmall} = views.sizeOf(view);
            this.element.style.setProperty("--box", views.colour(view));
            this.element.classList.toggle("distill-card-chosen", isChosen);
            this.element.setAttribute("aria-label", view.name);
            show(this.name, view.name);
            show(this.words, view.words.join(", "));
            show(this.repeats, view.repeats);
            const isOwn = view.captions !== null && view.captions !== undefined;
            const isWhole = !view.repeats && view.box.join() === "0,0,1,1";
            this.size.textContent = isWhole ? say("Its words go to the whole picture") : isSmall ? say("{size}: smaller than {min} px", {size: text, min: views.minPx()}) : text;
            this.size.classList.toggle("distill-card-small", isSmall && !isWhole);
            this.element.toggleAttribute("data-own", isOwn);
            this.element.toggleAttribute("data-whole", isWhole);
            this.inherited = inherited(view) ?? this.inherited ?? "";
            const said = isOwn ? [view.captions].flat().join(", ") : this.inherited;
            if (this.captions.area.value !== said) {
                write(this.captions.area, said);
                if (!isOwn) chips.of(`distill_view_${this.id}`)?.forget();
            }
            crop(this.canvas, image, view.box);
        }
    }

    function crop(canvas, image, [left, upper, right, lower]) {
        if (!image.complete || !image.naturalWidth) {
            image.addEventListener("load", () => crop(canvas, image, [left, upper, right, lower]), {once: true});
            return;
        }
        const width = (right - left) * image.naturalWidth, height = (lower - upper) * image.naturalHeight;
        const scale = Math.min(1, THUMBNAIL_PX / Math.max(width, height));
        canvas.width = Math.max(1, Math.round(width * scale));
        canvas.height = Math.max(1, Math.round(height * scale));
        canvas.getContext("2d").drawImage(image, left * image.naturalWidth, upper * image.naturalHeight, width, height, 0, 0, canvas.width, canvas.height);
    }

    /* ---- the whole picture ---- */

    class WholeCard {
        constructor() {
            this.canvas = make("canvas", {"aria-hidden": "true"});
            this.repeats = repeats((n) => views.put({repeats: n ?? 0}), "auto");
            const name = make("b", {class: "distill-card-name"}, say("The whole picture"));
            const note = make("span", {class: "distill-card-size"}, say("Captions as above"));
            this.repeats.title = say("Empty: as often as all of its views together");
            const facts = make("div", {class: "distill-card-fields"}, labelled(say("Repeats"), this.repeats));
            const head = make("div", {class: "distill-card-head"}, this.canvas, make("div", {}, name, note, facts));
            this.element = make("div", {class: "distill-card", role: "group", "aria-label": say("The whole picture")}, head);
        }

        draw(count, image) {
            show(this.repeats, count || "");
            crop(this.canvas, image, [0, 0, 1, 1]);
        }
    }

    window.distill.card = {labelled, show, captions, repeats, button};
    window.distill.viewCard = (id) => new ViewCard(id);
    window.distill.wholeCard = () => new WholeCard();
})();
