// The subject's mask: painted over the picture, sent as a small grey PNG in a textbox that is never seen.
// Drawn into the panel of distill_views.js. Needs distill.js.
(function () {
    "use strict";

    const {one, field, say, write, make, press} = window.distill;

    if (window.distill.mask) return;

    const LONG_PX = 512, LEAST_PX = 32, KEPT = 20, COLOUR = [240, 68, 56];

    const textbox = () => field("distill_plan_mask");

    class Mask {
        constructor(panel) {
            this.panel = panel;
            this.canvas = make("canvas", {class: "distill-mask", tabindex: 0, role: "img"});
            this.pen = this.canvas.getContext("2d", {willReadFrequently: true});
            this.used = make("img", {class: "distill-mask-used", alt: "", draggable: "false", hidden: ""});
            this.ring = make("div", {class: "distill-ring", hidden: ""});
            this.layers = [this.used, this.canvas, this.ring];
            this.text = "";
            this.heard = one("#distill_plan_used [data-plan]")?.dataset.plan || "";
            this.past = [];
            this.isErasing = false;
            this.tools = this.makeTools();
            this.canvas.addEventListener("pointerdown", (event) => this.begin(event));
            this.canvas.addEventListener("pointermove", (event) => this.move(event));
            this.canvas.addEventListener("pointerup", (event) => this.end(event));
            this.canvas.addEventListener("pointercancel", (event) => this.end(event));
            this.canvas.addEventListener("pointerleave", () => { this.ring.hidden = true; });
        }

        makeTools() {
            const button = (label, act, shown = label) => {
                const made = make("button", {type: "button", "aria-label": label, title: label}, shown);
                made.addEventListener("click", act);
                return made;
            };
            this.paint = button(say("Paint the subject"), () => this.setErasing(false));
            this.erase = button(say("Erase"), () => this.setErasing(true));
            this.size = make("input", {type: "range", min: 1, max: 40, value: 10, step: 1});
            this.undoButton = button(say("Undo the stroke"), () => this.undo(), "↶");
            this.fillButton = button(say("Fill the chosen view"), () => this.fill());
            this.shares = make("p", {class: "distill-plan-state distill-quiet"});
            this.show = button(say("Show what training uses"), () => (this.used.hidden ? press("distill_plan_use_mask") : this.hide()));
            const made = make("div", {class: "distill-plan-tools", "data-for": "mask"},
                this.paint, this.erase, make("label", {}, make("span", {}, say("Brush")), this.size), this.undoButton,
                button(say("Invert"), () => this.invert()), this.fillButton, button(say("Clear the mask"), () => this.clear()), this.show, this.shares);
            this.setErasing(false);
            return made;
        }

        setErasing(isOn) {
            this.isErasing = isOn;
            this.paint.setAttribute("aria-pressed", !isOn);
            this.erase.setAttribute("aria-pressed", isOn);
        }

        /* the text */

        onPicture({picture, size}) {
            if (!picture) return;
            const scale = LONG_PX / Math.max(...size); // strokes are smooth on a small picture, too
            this.picture = picture;
            this.canvas.width = Math.max(LEAST_PX, Math.round(size[0] * scale));
            this.canvas.height = Math.max(LEAST_PX, Math.round(size[1] * scale));
            this.past = [];
            this.hide();
            const of = textbox()?.value.match(/;picture=([0-9a-f]*);/)?.[1] || "";
            if (of && of !== picture) write(textbox(), ""); // it was drawn on another one
            this.text = null;
            this.sync();
        }

        // The server may have written it: a page that was loaded anew.
        sync() {
            this.hear();
            const value = textbox()?.value;
            if (value === undefined || value === this.text || !this.picture) return;
            this.text = value;
            this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height);
            if (value) this.read(value);
            else this.drawShare();
        }

        read(value) {
            const image = new Image();
            image.addEventListener("load", () => {
                if (this.text !== value) return;
                this.pen.drawImage(image, 0, 0, this.canvas.width, this.canvas.height);
                this.alter((level, red) => red); // grey becomes opacity
                this.keep();
            });
            image.src = value;
        }

        keep() {
            this.alter((level) => (level < 128 ? 0 : 255)); // else what is erased leaves a veil
            const share = this.drawShare();
            this.text = share ? this.png() : "";
            write(textbox(), this.text);
            this.hide();
        }

        png() {
            const {width, height} = this.canvas;
            const copy = make("canvas", {width, height}), pen = copy.getContext("2d");
            const pixels = this.pen.getImageData(0, 0, width, height);
            for (let i = 0; i < pixels.data.length; i += 4) {
                pixels.data.fill(pixels.data[i + 3], i, i + 3);
                pixels.data[i + 3] = 255;
            }
            pen.putImageData(pixels, 0, 0);
            return copy.toDataURL("image/png").replace(";base64", `;picture=${this.picture};base64`);
        }

        drawShare() {
            const {width, height} = this.canvas;
            const levels = this.pen.getImageData(0, 0, width, height).data;
            let sum = 0;
            for (let i = 3; i < levels.length; i += 4) sum += levels[i];
            const share = Math.round(100 * sum / 255 / width / height);
            const said = sum
                ? say("The mask covers {share} % of the picture: that is the subject.", {share: Math.max(1, share)})
                : say("No mask is drawn: paint over the subject.");
            this.shares.textContent = said;
            this.canvas.setAttribute("aria-label", said);
            this.undoButton.disabled = !this.past.length;
            return sum;
        }

        /* what is done to it */

        // `level` of a pixel from what it was and its red.
        alter(level) {
            const {width, height} = this.canvas;
            const pixels = this.pen.getImageData(0, 0, width, height);
            for (let i = 0; i < pixels.data.length; i += 4) {
                const now = level(pixels.data[i + 3], pixels.data[i]);
                pixels.data.set(COLOUR, i);
                pixels.data[i + 3] = now;
            }
            this.pen.putImageData(pixels, 0, 0);
        }

        remember() {
            this.past = [...this.past, this.pen.getImageData(0, 0, this.canvas.width, this.canvas.height)].slice(-KEPT);
        }

        change(act) {
            this.remember();
            act();
            this.keep();
        }

        undo() {
            if (!this.past.length) return;
            this.pen.putImageData(this.past.pop(), 0, 0);
            this.keep();
        }

        invert() {
            this.change(() => this.alter((level) => 255 - level));
        }

        clear() {
            this.change(() => this.pen.clearRect(0, 0, this.canvas.width, this.canvas.height));
        }

        // For those who can't paint: a view's box, by keys.
        fill() {
            const view = window.distill.views.chosen() || window.distill.views.all()[0];
            if (!view) return window.distill.views.speak(say("There is no view to fill: add one first."));
            const [left, upper, right, lower] = view.box, {width, height} = this.canvas;
            this.change(() => {
                this.ready();
                this.pen.fillRect(left * width, upper * height, (right - left) * width, (lower - upper) * height);
            });
        }

        ready() {
            this.pen.globalCompositeOperation = this.isErasing ? "destination-out" : "source-over";
            this.pen.fillStyle = this.pen.strokeStyle = `rgb(${COLOUR})`;
            this.pen.lineCap = this.pen.lineJoin = "round";
            this.pen.lineWidth = this.brush();
        }

        brush() {
            return Math.max(2, Number(this.size.value) / 100 * Math.max(this.canvas.width, this.canvas.height));
        }

        /* mouse and finger */

        at(event) {
            const {left, top, width, height} = this.canvas.getBoundingClientRect();
            return [(event.clientX - left) / width * this.canvas.width, (event.clientY - top) / height * this.canvas.height];
        }

        begin(event) {
            if (event.button || this.last) return;
            event.preventDefault();
            this.canvas.focus({preventScroll: true});
            this.canvas.setPointerCapture(event.pointerId);
            this.remember();
            this.pointer = event.pointerId;
            this.last = this.at(event);
            this.line(this.last);
        }

        move(event) {
            this.drawRing(event);
            if (!this.last || event.pointerId !== this.pointer) return;
            for (const part of event.getCoalescedEvents?.() || []) this.line(this.at(part));
            this.line(this.at(event));
        }

        line(to) {
            this.ready();
            this.pen.beginPath();
            this.pen.moveTo(...this.last);
            this.pen.lineTo(...to);
            this.pen.stroke();
            this.last = to;
        }

        end(event) {
            if (!this.last || event.pointerId !== this.pointer) return;
            this.last = null;
            this.keep();
        }

        drawRing(event) {
            const {left, top, width} = this.canvas.getBoundingClientRect();
            const size = this.brush() * width / this.canvas.width;
            this.ring.hidden = event.pointerType === "touch";
            Object.assign(this.ring.style, {width: `${size}px`, height: `${size}px`, left: `${event.clientX - left}px`, top: `${event.clientY - top}px`});
        }

        /* what training makes of it: the picture's transparency or the remover, where nothing is drawn */

        hear() {
            const said = one("#distill_plan_used [data-plan]")?.dataset.plan || "";
            if (said === this.heard) return;
            this.heard = said;
            const {mask = ""} = JSON.parse(said || "{}");
            this.used.hidden = !mask;
            this.panel.holder.toggleAttribute("data-used", Boolean(mask));
            if (mask) this.used.src = mask;
            this.show.textContent = mask ? say("Hide what training uses") : say("Show what training uses");
        }

        hide() {
            this.used.hidden = true;
            this.panel.holder.removeAttribute("data-used");
            this.show.textContent = say("Show what training uses");
        }
    }

    window.distill.mask = (panel) => new Mask(panel);
    window.distill.maskText = () => textbox()?.value || "";
})();
