// The way from the Distill tab to the other tabs and back: prompts, sizes, pictures. Needs distill.js.
(function () {
    "use strict";

    const {app, one, field, say, write, refreshCards} = window.distill;

    if (window.distillUse) return;

    /* ---- into the other tabs ---- */

    const TABS = {txt2img: "txt2img", img2img: "img2img", inpaint: "img2img"}; // inpaint has img2img's prompt
    const memory = (name) => `distill.block.${name}`;

    function remembered(name) {
        try { return localStorage.getItem(memory(name)) || ""; } catch { return ""; }
    }

    function remember(name, block) {
        try { localStorage.setItem(memory(name), block); } catch { /* private window: we then append once more */ }
    }

    // The person's text with our block: in place of our earlier one, else behind what they wrote.
    function merged(text, earlier, block) {
        if (earlier && text.includes(earlier)) return text.split(earlier).join(block);
        const tag = earlier.match(/<lora:[^:<>]+/)?.[0];
        if (tag) {
            const ours = new RegExp(`\\s*,?\\s*${tag.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}(:[^<>]*)?>`, "g");
            text = text.replace(ours, "").replace(/^\s*,\s*/, "");
        }
        const before = text.replace(/[\s,]+$/, "");
        return before ? `${before}, ${block}` : block;
    }

    function setSize(name, width, height) {
        for (const [side, value] of [["width", width], ["height", height]]) {
            if (value) app().querySelectorAll(`#${name}_${side} input`).forEach((input) => write(input, value));
        }
    }

    function distillUse(tab, block, width, height) {
        const name = TABS[tab] || tab;
        const box = one(`#${name}_prompt textarea`);
        if (!box || !block) return;
        write(box, merged(box.value, remembered(name), block));
        remember(name, block);
        setSize(name, width, height);
        // A WebUI that takes our picture sets its own size when the picture arrives; the size of training comes last.
        if (tab === "img2img") [700, 1500, 2500].forEach((ms) => setTimeout(() => setSize(name, width, height), ms));
        const go = window[`switch_to_${tab}`];
        if (typeof go === "function") go();
        else openTab(tab);
        refreshCards();
    }

    function openTab(title) {
        const wanted = [title, say(title)];
        const named = [...app().querySelectorAll("#tabs button")].filter((button) => wanted.includes(button.textContent.trim()));
        (named.find((button) => button.getAttribute("role") === "tab") || named[0])?.click();
    }

    // What a WebUI's "Distill this" buttons send to the server: the chosen picture of the gallery, else its first.
    function distillPick(gallery) {
        const pictures = gallery || [];
        const thumbnails = (id) => [...app().querySelectorAll(`#${id} .thumbnail-item.thumbnail-small`)];
        const seen = ["txt2img_gallery", "img2img_gallery"].map(thumbnails);
        const found = seen.find((items) => items.some((item) => item.offsetParent)) || seen[0];
        const chosen = found.findIndex((item) => item.classList.contains("selected"));
        const hasGrid = pictures.length > 2 && window.opts?.return_grid;
        const index = chosen >= 0 && chosen < pictures.length ? chosen : hasGrid ? 1 : 0;
        if (pictures.length) window.switch_to_distill();
        window.distill.isGiven = true; // no older picture must come over it
        return window.extract_image_from_gallery(pictures.slice(index, index + 1)); // in the shape of this WebUI
    }

    /* ---- a picture from the clipboard, where the WebUI does not take it itself ---- */

    async function onPaste(event) {
        const file = [...(event.clipboardData?.files || [])].find((item) => item.type.startsWith("image/"));
        const picture = one("#distill_picture");
        if (!file || !picture || picture.offsetParent === null || typeof window.dropReplaceImage === "function") return;
        event.preventDefault();
        let input = picture.querySelector("input[type=file]");
        if (!input) {
            picture.querySelector("button[aria-label='Clear'], button[aria-label='Remove Image'], button[title='Clear']")?.click();
            await new Promise((resolve) => setTimeout(resolve, 300));
            input = picture.querySelector("input[type=file]");
        }
        if (!input) return;
        const files = new DataTransfer();
        files.items.add(file);
        input.files = files.files;
        input.dispatchEvent(new Event("change", {bubbles: true}));
    }

    /* ---- clicks ---- */

    function copy(button) {
        const box = field("distill_prompt");
        box.select();
        if (navigator.clipboard) navigator.clipboard.writeText(box.value);
        else document.execCommand("copy"); // a WebUI opened over plain http in the home network
        const label = button.textContent;
        button.textContent = say("Copied");
        setTimeout(() => { button.textContent = label; }, 1200);
    }

    function insert(name) {
        const box = one("#txt2img_prompt textarea");
        const before = box.value.replace(/[\s,]+$/, "");
        write(box, `${before}${before ? ", " : ""}<lora:${name}:0.6>`);
    }

    function onClick(event) {
        const target = event.target.closest?.("button");
        if (!target) return;
        const use = target.id.match(/^distill_use_(txt2img|img2img|inpaint)$/)?.[1];
        if (use) distillUse(use, field("distill_prompt")?.value, ...window.distill.size());
        else if (target.id === "distill_copy") copy(target);
        else if (target.id === "txt2img_send_to_distill" && !window.extract_image_from_gallery) window.switch_to_distill();
        else if (target.dataset.insert) insert(target.dataset.insert);
    }

    // The WebUI's hand-over would clear img2img's picture when we have none to give: only the prompt goes then.
    function onCapture(event) {
        const use = event.target.closest?.("#distill_use_img2img, #distill_use_inpaint");
        if (!use || one("#distill_picture img")) return;
        event.stopImmediatePropagation();
        onClick(event);
    }

    document.addEventListener("click", onCapture, true);
    document.addEventListener("click", onClick);
    document.addEventListener("paste", onPaste);

    window.distill.merged = merged;
    window.distillUse = distillUse;
    window.distillPick = distillPick;
    window.switch_to_distill = function () {
        openTab("Distill");
        return Array.from(arguments);
    };
})();
