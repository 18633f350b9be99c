// The options' form: what is not as the defaults is marked and counted, and goes back with a click; tooltips say what an
// effect looks like. Presets that are exported are handed to the browser. Needs distill.js.
(function () {
    "use strict";

    const {one, within, field, say, write, make, press, hooks} = window.distill;

    if (window.distill.options) return;

    /* ---- one widget ---- */

    let about = null; // of each option: its default, its group, what it looks like

    function table() {
        if (!about) about = JSON.parse(one("#distill_options [data-options]")?.dataset.options || "null");
        return about || {};
    }

    const root = (name) => one(`#distill_${name}`);
    const inputs = (block) => [...block.querySelectorAll("input, textarea")];

    // undefined where there is no widget, or none with a value.
    function value(block) {
        const [first] = inputs(block);
        if (!first) return undefined;
        if (first.type === "radio") return inputs(block).find((input) => input.checked)?.value;
        if (first.type === "checkbox") return first.checked;
        const number = inputs(block).find((input) => input.type === "number" || input.type === "range");
        return number ? (number.value === "" ? "" : Number(number.value)) : first.value.trim();
    }

    function differs(block, wanted) {
        const now = value(block);
        if (now === undefined) return false;
        if (typeof wanted !== "number") return now !== wanted;
        return now === "" || Math.abs(now - wanted) > 1e-9 * Math.max(1e-6, Math.abs(wanted));
    }

    /* ---- marks ---- */

    function mark(name, block) {
        const {default: wanted, looks} = table()[name];
        const isOther = differs(block, wanted);
        if (looks && !block.title) block.title = say(looks);
        block.classList.toggle("distill-changed", isOther);
        const button = block.querySelector(":scope > .distill-reset");
        if (isOther && !button) block.append(reset(name, wanted));
        else if (!isOther) button?.remove();
        return isOther;
    }

    function reset(name, wanted) {
        const shown = wanted === "" ? say("(empty)") : String(wanted);
        const said = `${say("Back to the default")}: ${shown}`;
        return make("button", {type: "button", class: "distill-reset", "data-reset": name, title: said, "aria-label": said}, "\u21ba");
    }

    function count(group, names) {
        let holder = group.querySelector(":scope > .distill-group");
        if (!names.length) return holder?.remove();
        if (!holder) {
            holder = make("span", {class: "distill-group"},
                make("b", {}),
                make("button", {type: "button", "data-reset-group": group.id}, say("Reset all")));
            group.append(holder);
        }
        const said = String(names.length);
        const number = holder.firstChild;
        if (number.textContent !== said) number.textContent = said;
        const title = say("{n} not as the defaults", {n: said});
        if (number.title !== title) number.title = title;
    }

    // gradio 6 draws what is folded only when it is opened: of those the server says which differ.
    const unseen = () => JSON.parse(one("#distill_changed [data-changed]")?.dataset.changed || "{}").names || [];

    function draw() {
        const counted = new Map(within("[id^=distill_group_]").map((group) => [group, []]));
        const told = unseen();
        for (const [name, {group}] of Object.entries(table())) {
            const holder = one(`#${group}`), block = root(name);
            if (!holder || block && !holder.contains(block)) continue; // elsewhere they belong to one picture
            if (block ? mark(name, block) : told.includes(name)) counted.get(holder).push(name);
        }
        counted.forEach((names, group) => count(group, names));
    }

    function back(names) {
        write(field("distill_reset_names"), `${names.join(",")}@${Date.now()}`); // once more is another text
    }

    const inGroup = (id) => Object.keys(table()).filter((name) => table()[name].group === id);

    /* ---- presets ---- */

    let given = null; // the file that was handed over last

    function handOver() {
        const said = one("#distill_preset_file [data-file]")?.dataset.file || "";
        if (!said || said === given) return;
        given = said;
        const {name, text} = JSON.parse(said);
        const address = URL.createObjectURL(new Blob([text], {type: "application/json"}));
        make("a", {href: address, download: name}).click();
        setTimeout(() => URL.revokeObjectURL(address), 10000);
    }

    /* ---- start ---- */

    let isListed = false;

    function onClick(event) {
        const button = event.target.closest?.("[data-reset], [data-reset-group]");
        if (!button) return;
        event.preventDefault();
        event.stopPropagation(); // the accordion's head is near
        back(button.dataset.reset ? [button.dataset.reset] : inGroup(button.dataset.resetGroup));
    }

    document.addEventListener("click", onClick, true);
    hooks.beat.push(() => {
        draw();
        handOver();
        if (isListed || !one("#distill_preset_list")) return;
        isListed = true; // those that were saved since the tab was drawn
        press("distill_preset_list");
    });

    window.distill.options = {value: (name) => value(root(name)), reset: (name) => back([name])};
})();
