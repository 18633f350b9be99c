// Further pictures of the same subject, each with captions and repeats of its own; the server keeps the pictures, a
// textbox that is never seen what is said of them. Needs distill.js; cards are those of distill_views_card.js.
(function () {
    "use strict";

    const {one, field, say, write, make, press} = window.distill;

    if (window.distill.further) return;

    const textbox = () => field("distill_plan_listed");

    let given = [], heard = "", text = null, said = {}, answered = "", cards = new Map(), holder = null, list = null, waiting = "";

    function sync() {
        const target = textbox();
        if (!target || target.value === text) return;
        text = target.value;
        try {
            said = JSON.parse(text || "{}");
        } catch {
            said = {}; // the server says what is wrong with it
        }
        draw();
    }

    function change(id, parts) {
        said = {...said, [id]: {...said[id], ...parts}};
        text = JSON.stringify(said);
        write(textbox(), text);
        draw();
    }

    const kept = () => given.filter(({id}) => !said[id]?.removed);

    function listen() {
        const value = one("#distill_plan_given [data-plan]")?.dataset.plan || "";
        if (value !== heard) {
            heard = value;
            given = JSON.parse(value || "{}").pictures || [];
            draw();
        }
        const answer = one("#distill_plan_described [data-plan]")?.dataset.plan || "";
        if (answer === answered) return;
        answered = answer;
        const {id, captions} = JSON.parse(answer || "{}");
        waiting = "";
        if (id && captions) change(id, {captions});
        else draw();
    }

    function describe(id) {
        waiting = id;
        write(field("distill_plan_asked"), id);
        press("distill_plan_describe");
        draw();
    }

    class Card {
        constructor({id, src, size, notes}) {
            const {labelled, captions, repeats, button} = window.distill.card;
            this.id = id;
            this.repeats = repeats((n) => change(id, {repeats: n ?? 0}), "auto");
            this.repeats.title = say("Empty: as often as all of its views together");
            this.captions = captions(`distill_further_${id}`, say("Captions of the further picture"), (value) => this.write(value));
            this.note = make("span", {class: "distill-quiet"}, say("Without captions the captioner describes it when training begins."));
            this.describe = button(say("Describe this picture"), say("Describe this picture"), () => describe(id));
            this.copy = button(say("Take those of the first picture"), say("Take those of the first picture"), () => change(id, {captions: field("distill_captions")?.value || ""}));
            const remove = button(say("Remove the picture"), "×", () => change(id, {removed: true}));
            remove.className = "distill-card-remove";
            const about = make("span", {class: "distill-card-size", title: notes.join("\n")}, `${size[0]} × ${size[1]} px`);
            this.name = make("b", {class: "distill-card-name"});
            const facts = make("div", {class: "distill-card-fields"}, labelled(say("Repeats"), this.repeats));
            const head = make("div", {class: "distill-card-head"}, make("img", {src, alt: ""}), make("div", {}, this.name, about, facts), remove);
            const foot = make("div", {class: "distill-card-foot"}, this.note, this.describe, this.copy);
            this.element = make("div", {class: "distill-card", role: "group"}, head, this.captions.element, foot);
        }

        write(value) {
            if ((said[this.id]?.captions || "") !== value) change(this.id, {captions: value});
        }

        draw(n) {
            const {captions = "", repeats = 0} = said[this.id] || {};
            const name = say("Picture {n}", {n: n + 2});
            this.name.textContent = name;
            this.element.setAttribute("aria-label", name);
            window.distill.card.show(this.repeats, repeats || "");
            if (this.captions.area.value !== (captions || "")) write(this.captions.area, captions || "");
            this.note.hidden = Boolean(captions);
            this.describe.disabled = Boolean(waiting);
            this.describe.textContent = waiting === this.id ? say("Is being described ...") : say("Describe this picture");
            this.copy.disabled = !field("distill_captions")?.value;
        }
    }

    function draw() {
        if (!list) return;
        const shown = kept();
        for (const [id, card] of cards) {
            if (shown.some((picture) => picture.id === id)) continue;
            card.element.remove();
            cards.delete(id);
        }
        shown.forEach((picture, n) => {
            if (!cards.has(picture.id)) {
                cards.set(picture.id, new Card(picture));
                list.append(cards.get(picture.id).element);
            }
            cards.get(picture.id).draw(n);
        });
    }

    function beat() {
        const found = one("#distill_plan_more [data-plan-more]");
        if (found && found !== holder) {
            holder = found;
            cards = new Map();
            list = make("div", {class: "distill-cards"});
            holder.replaceChildren(make("b", {class: "distill-plan-title"}, say("More pictures")), list);
            draw();
        }
        for (const input of one("#distill_plan_panel")?.querySelectorAll("input[type=file]") || []) {
            if (input.accept !== "image/*") input.accept = "image/*";
        }
        sync();
        listen();
    }

    window.distill.further = {beat};
    window.distill.furtherCount = () => kept().length;
})();
