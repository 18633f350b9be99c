// Boxes over the picture: drawn, moved and resized with mouse, finger or keys. Needs distill_views.js.
(function () {
    "use strict";

    const {say, make, views} = window.distill;

    if (window.distill.boxes) return;

    const EDGES = ["nw", "n", "ne", "e", "se", "s", "sw", "w"];
    const LEAST = 0.03, STEP = 0.01, FINE = 0.002;

    const clamp = (value, least = 0, most = 1) => Math.min(most, Math.max(least, value));
    const rounded = (box) => box.map((edge) => Number(edge.toFixed(4)));
    const area = ([left, upper, right, lower]) => (right - left) * (lower - upper);

    // With its size kept, inside the picture.
    function moved(box, dx, dy) {
        const x = clamp(dx, -box[0], 1 - box[2]), y = clamp(dy, -box[1], 1 - box[3]);
        return [box[0] + x, box[1] + y, box[2] + x, box[3] + y];
    }

    function resized(box, edge, dx, dy) {
        const [left, upper, right, lower] = box;
        return [
            edge.includes("w") ? clamp(left + dx, 0, right - LEAST) : left,
            edge.includes("n") ? clamp(upper + dy, 0, lower - LEAST) : upper,
            edge.includes("e") ? clamp(right + dx, left + LEAST, 1) : right,
            edge.includes("s") ? clamp(lower + dy, upper + LEAST, 1) : lower,
        ];
    }

    const between = (a, b) => [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])];

    class Boxes {
        constructor() {
            this.made = new Map(); // id of a view -> its element
            this.drag = null;
            this.ghost = make("div", {class: "distill-box distill-box-new", hidden: ""});
            this.layer = make("div", {class: "distill-boxes"}, this.ghost);
            this.layer.addEventListener("pointerdown", (event) => this.begin(event));
            this.layer.addEventListener("pointermove", (event) => this.move(event));
            this.layer.addEventListener("pointerup", (event) => this.end(event));
            this.layer.addEventListener("pointercancel", () => this.giveUp());
            this.layer.addEventListener("keydown", (event) => this.onKey(event));
            this.layer.addEventListener("focusin", (event) => {
                const id = event.target.closest("[data-view]")?.dataset.view;
                if (id) views.choose(id);
            });
        }

        /* how they look */

        draw(all, chosen) {
            for (const [id, element] of this.made) {
                if (all.some((view) => view.id === id)) continue;
                element.remove();
                this.made.delete(id);
            }
            const bySize = [...all].sort((a, b) => area(b.box) - area(a.box)); // a small one lies on a large one
            for (const view of all) {
                const element = this.made.get(view.id) || this.makeBox(view);
                element.style.setProperty("--box", views.colour(view));
                element.style.zIndex = view.id === chosen ? 50 : bySize.indexOf(view) + 1;
                element.classList.toggle("distill-box-chosen", view.id === chosen);
                element.firstChild.textContent = view.name;
                this.place(element, this.drag?.id === view.id ? this.drag.now : view.box);
                const keys = say("Arrow keys move it, with Shift they resize it, with Alt in small steps; Delete removes it.");
                element.setAttribute("aria-label", `${view.name}. ${views.sizeOf(view).text}. ${keys}`);
            }
        }

        makeBox(view) {
            const handles = EDGES.map((edge) => make("i", {"data-edge": edge}));
            const element = make("div", {class: "distill-box", role: "group", tabindex: 0, "data-view": view.id}, make("span"), ...handles);
            this.layer.append(element);
            this.made.set(view.id, element);
            return element;
        }

        place(element, [left, upper, right, lower]) {
            Object.assign(element.style, {
                left: `${100 * left}%`, top: `${100 * upper}%`, width: `${100 * (right - left)}%`, height: `${100 * (lower - upper)}%`,
            });
        }

        focus(id) {
            this.made.get(id)?.focus({preventScroll: true});
        }

        /* mouse and finger */

        at(event) {
            const {left, top, width, height} = this.layer.getBoundingClientRect();
            return [clamp((event.clientX - left) / width), clamp((event.clientY - top) / height)];
        }

        begin(event) {
            const id = event.target.closest("[data-view]")?.dataset.view || "";
            if (event.button || this.drag || (!id && event.pointerType === "touch")) return; // there a finger scrolls
            event.preventDefault();
            const from = this.at(event), box = id ? views.find(id).box : [...from, ...from];
            this.drag = {id, from, box, now: box, edge: event.target.dataset.edge || "", pointer: event.pointerId};
            this.layer.setPointerCapture(event.pointerId);
            if (id) this.focus(id);
        }

        move(event) {
            const {drag} = this;
            if (!drag || event.pointerId !== drag.pointer) return;
            const to = this.at(event), dx = to[0] - drag.from[0], dy = to[1] - drag.from[1];
            drag.now = !drag.id ? between(drag.from, to) : drag.edge ? resized(drag.box, drag.edge, dx, dy) : moved(drag.box, dx, dy);
            this.ghost.hidden = Boolean(drag.id);
            const element = drag.id ? this.made.get(drag.id) : this.ghost;
            this.place(element, drag.now);
            if (drag.id) element.dataset.size = views.sizeOf({box: drag.now}).text;
        }

        end(event) {
            const {drag} = this;
            if (!drag || event.pointerId !== drag.pointer) return;
            this.giveUp();
            const [left, upper, right, lower] = drag.now;
            if (drag.id) {
                if (drag.now !== drag.box) views.change(drag.id, {box: rounded(drag.now)}, this.spoken(drag.id, drag.now));
            } else if (right - left > LEAST && lower - upper > LEAST) this.focus(views.add(rounded(drag.now)).id);
        }

        giveUp() {
            this.made.get(this.drag?.id)?.removeAttribute("data-size");
            this.drag = null;
            this.ghost.hidden = true;
        }

        spoken(id, box) {
            const [left, upper] = box.map((edge) => Math.round(100 * edge));
            return say("{name}: {left} % from the left, {upper} % from above, {size}", {name: views.find(id).name, left, upper, size: views.sizeOf({box}).text});
        }

        /* keys */

        onKey(event) {
            const id = event.target.dataset.view, view = views.find(id);
            const way = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}[event.key];
            if (!view || event.ctrlKey || event.metaKey) return;
            if (way) {
                const [dx, dy] = way.map((part) => part * (event.altKey ? FINE : STEP));
                const box = rounded(event.shiftKey ? resized(view.box, "se", dx, dy) : moved(view.box, dx, dy));
                views.change(id, {box}, this.spoken(id, box), true);
            } else if (["Delete", "Backspace"].includes(event.key)) {
                const next = views.all()[(views.all().indexOf(view) + 1) % views.all().length].id;
                views.remove(id);
                this.focus(next);
            } else return;
            event.preventDefault();
            event.stopPropagation();
        }
    }

    window.distill.boxes = () => new Boxes();
})();
