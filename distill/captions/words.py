"""The words by which a tag finds its group, about 650 of them; a tag's last known word decides ("red hat": hat)."""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


GROUPS = (
    "subject",
    "hair",
    "eyes",
    "face",
    "body",
    "expression",
    "clothing",
    "accessories",
    "pose",
    "camera",
    "background",
    "style",
    "artifacts",
    "other",
)
"""In the order of a caption. The first five but the subject are what makes a person recognisable."""

IDENTITY_GROUPS = ("hair", "eyes", "face", "body")

WORDS: dict[str, str] = {
    "subject": """woman, women, man, men, girl, boy, person, people, lady, gentleman, guy, female, male, child, kid,
        baby, toddler, teenager, teen, adult, couple, group, crowd, solo, 1girl, 1boy, 2girls, 2boys, 1other, face-off,
        elf, fairy, witch, wizard, knight, robot, android, cyborg, vampire, zombie, angel, demon, mermaid, princess,
        prince, queen, king, soldier, astronaut, doctor, nurse, chef, police officer, dog, cat, horse, bird, fox, wolf,
        dragon, animal, creature, character, mother, father, bride, groom, dancer, singer""",
    "hair": """hair, haired, hairstyle, haircut, bangs, fringe, ponytail, ponytails, pigtails, twintails, braid, braids,
        braided, bun, buns, bob, bob cut, pixie cut, curls, dreadlocks, afro, mohawk, undercut, sidelocks, ahoge, bald,
        blonde, blond, brunette, redhead, highlights, buzz cut, crew cut, cornrows, updo, hime cut, locks""",
    "eyes": """eyes, eye, eyed, pupils, iris, irises, heterochromia, eyelashes, eyeshadow, eyeliner, mascara""",
    "face": """face, nose, lips, lipstick, cheek, cheeks, cheekbones, chin, jaw, jawline, forehead, eyebrows,
        eyebrow, brows, ears, ear, freckles, mole, dimples, scar, scars, wrinkles, beard, mustache, moustache,
        goatee, stubble, sideburns, facial hair, makeup, blush, birthmark, mark, face paint, teeth, fangs, tattooed
        face, mouth, beauty mark, face mark, star mark, pointy ears, mole under eye, whiskers""",
    "body": """body, skin, skinned, slim, thin, skinny, muscular, muscles, athletic, chubby, fat, plump, curvy, petite,
        tall, short, young, old, elderly, middle-aged, mature, tattoo, tattoos, hand, hands, fingers, nails, arm, arms,
        shoulders, shoulder, neck, collarbone, chest, breasts, cleavage, waist, hips, abs, navel, legs, thighs, knees,
        feet, tail, wings, horns, horn, halo, tan, tanned, pale, dark-skinned, fair-skinned, broad shoulders""",
    "expression": """smile, smiling, grin, grinning, laugh, laughing, frown, frowning, serious, sad, happy, angry,
        surprised, shocked, scared, crying, tears, wink, winking, pout, pouting, smirk, smirking, neutral expression,
        expression, expressionless, open mouth, closed mouth, parted lips, closed eyes, half-closed eyes, tongue out,
        tongue, embarrassed, blushing, confident, calm, joyful, annoyed, sleepy, worried, thoughtful, confused,
        clenched teeth, raised eyebrows""",
    "clothing": """shirt, t-shirt, tshirt, blouse, dress, sundress, gown, skirt, miniskirt, pants, trousers, jeans,
        shorts, leggings, sweater, sweatshirt, hoodie, cardigan, jacket, coat, blazer, vest, suit, tuxedo, uniform,
        kimono, robe, yukata, hanfu, sari, cloak, cape, armor, armour, swimsuit, bikini, bra, underwear, lingerie,
        top, tank top, crop top, turtleneck, collar, sleeves, sleeveless, hood, shoes, boots, sneakers, sandals, heels,
        socks, stockings, pantyhose, tights, overalls, jumpsuit, spacesuit, space suit, apron, leotard, bodysuit,
        costume, clothes, clothing, outfit, denim, leather, lace, buttons, button, zipper, pocket, pockets, neckline,
        off shoulder, bare shoulders, nude, naked, topless, shirtless, barefoot, polo, tunic, raincoat, pajamas,
        zigzag pattern, pattern, stripes, plaid""",
    "accessories": """hat, cap, beanie, beret, helmet, crown, tiara, headband, hairband, hairclip, hairpin, ribbon,
        ribbons, bow, hair bow, hair ornament, hair ribbon, hair flower, glasses, eyeglasses, sunglasses, goggles,
        eyewear, monocle, eye patch, eyepatch, mask, veil, earring, earrings, piercing, piercings, necklace, choker,
        pendant, bracelet, bracelets, ring, rings, watch, wristwatch, jewelry, jewellery, scarf, shawl, tie, necktie,
        bowtie, gloves, glove, belt, bag, backpack, handbag, purse, badge, brooch, patch, headphones, headset, umbrella,
        apple, flower, flowers, rose, bouquet, book, cup, mug, phone, smartphone, sword, gun, weapon, staff, wand,
        guitar, camera strap, microphone, bottle, glass, wine glass, cigarette, pipe, fan, ball, balloon, toy,
        teddy bear, lanyard, cane, suspenders, wreath, flag""",
    "pose": """pose, posing, standing, sitting, lying, kneeling, squatting, crouching, leaning, walking, running,
        jumping, dancing, reaching, pointing, waving, looking, looking at viewer, looking away, looking back,
        looking to the side, facing, facing viewer, facing away, profile pose, arms crossed, crossed arms, arms up,
        arms behind back, hand on hip, hands on hips, hand up, hand on face, hand on chin, v sign, peace sign,
        thumbs up, head tilt, tilted head, gesture, salute, holding, carrying, eating, drinking, reading, playing,
        hugging, sleeping, crossed legs, contrapposto, hands together, outstretched arm""",
    "camera": """eye level, eye-level, close-up, close up, closeup, portrait, headshot, upper body, full body, lower
        body, half body, cowboy shot, bust, medium shot, long shot, wide shot, from above, from below, from side,
        from behind, front view, side view, back view, profile, three-quarter view, dutch angle, angle, fisheye,
        bokeh, depth of field, shallow depth of field, macro, zoom, selfie, view, shot, pov, cropped, cropped
        shoulders, out of frame, lens flare, blurry foreground, framing, centered, mugshot""",
    "background": """background, backdrop, wall, window, tree, trees, sky, cloud, clouds, sun, moon, stars, sunset,
        sunrise, night, day, outdoors, indoors, outside, inside, room, bedroom, kitchen, office, studio, classroom,
        library, street, city, building, buildings, house, door, curtain, curtains, chair, couch, sofa, bed, table,
        desk, bench, lamp, shelf, bookshelf, plant, plants, grass, garden, park, forest, field, mountain, mountains,
        hill, beach, sea, ocean, lake, river, water, rain, snow, desert, bridge, road, car, train, fence, stage,
        restaurant, cafe, bar, shop, church, castle, ruins, space, space shuttle, rocket, american flag, lights,
        neon lights, scenery, landscape, nature, leaves, petals, flower field, sunlight, blue sky, cityscape, stairs""",
    "style": """style, photo, photograph, photography, photorealistic, realistic, realism, painting, oil painting,
        watercolor, drawing, sketch, illustration, cartoon, anime, manga, comic, render, cgi, 3d, pixel art, digital
        art, concept art, art, artwork, lineart, monochrome, greyscale, grayscale, black and white, sepia, vintage,
        retro, cinematic, film grain, lighting, soft lighting, studio lighting, backlighting, rim light, dramatic
        lighting, natural light, chiaroscuro, hdr, high contrast, low contrast, vivid colors, muted colors, pastel
        colors, flat color, chibi, surreal, minimalist, noir, cyberpunk, steampunk, fantasy, science fiction,
        abstract, poster, masterpiece, best quality, high quality, highly detailed, detailed, simple, colorful, flat
        colors, polaroid""",
    "artifacts": """text, watermark, signature, logo, border, frame, caption, subtitle, username, artist name, date,
        timestamp, url, web address, jpeg artifacts, artifacts, noise, grain, scan, compression, blurry, blur, lowres,
        low quality, bad quality, worst quality, out of focus, motion blur, letterboxed, pillarboxed, copyright,
        speech bubble, error, glitch, pixelated, overexposed, underexposed, chromatic aberration, scratches, name""",
}

ADJECTIVES = _words(
    """
    black white red blue green yellow purple pink brown gray grey orange gold golden silver blonde blond beige hazel
    amber teal turquoise auburn ginger dark light bright pale deep long short medium shoulder length curly straight
    wavy messy neat thick thin loose tied big large small wide narrow closed open plain simple solid neutral blurred
    blurry clean empty and
    """
)
"""Words that say how a thing is, and not which."""

LEADING = _words(
    """
    holding carrying standing sitting lying kneeling squatting crouching leaning walking running jumping dancing
    reaching pointing waving looking facing posing eating drinking reading playing hugging riding
    """
)
"""A tag that begins with one of these is a pose, whatever it ends with ("holding red apple")."""

WOMAN_WORDS = _words("woman women girl lady female 1girl she her herself mother bride princess queen")
MAN_WORDS = _words("man men boy guy gentleman male 1boy he him his himself father groom prince king")
PERSON_WORDS = _words("person 1other someone")
SEVERAL_WORDS = _words("women men people girls boys couple group crowd 2girls 2boys 3girls 3boys multiple")

KAOMOJI = _words(
    "0_0 (o)_(o) +_+ +_- ._. <o>_<o> <|>_<|> =_= >_< 3_3 6_9 >_o @_@ ^_^ o_o u_u x_x |_| ||_|| t_t ;_; -_- ^o^"
)
"""Tags whose underscores are eyes and mouth, not spaces (Danbooru, and the list that WD taggers ship)."""

NAME_STOP_LIST = _words(
    """
    bader bakes bales bazar bene benin beret betis bez bezos bide bite biza bogus bolo bosa botox buka buri busan
    cafes cak capo cem cides cir coder cudi cumin dalit dames danes dares deter devo devos dike dimes dited doge dole
    domo doves duper duval duvet faber fad fades faf fal fas faze fema fetal fez fib fide filet fis fives fob fol fone
    gabi gad gales gani geno gera getit giver gopal gote hag hagan hak haka haves heli hep hiker hina hobo hok hom
    hosa hota hover hula jagan jakob janis jap javed jig joni kak kaka kalam kap kapil kapur karin kazan keri keted
    kini kites kobo kofi koko lapel lata latam laze lazer legos lenin leno lili linus lix lob lobe lopes lox lug lures
    luz mabel mamas mami masa matin mede mesut migos miler mined miro mita mized mogul mopar mota moz muna muses muted
    nad nasal nasi navi negan neko neva nevis nodes noles noses nunes padi palin pate patil pavel pele peri peril pesa
    pesos petal pika pis pisa pokes pola poser pote pox pul pusa rader reba redo redux remi revan rever riba ridin
    rigid rizal rona rop roti rotor ruger rune sagar saki salim salud satu savor seton sever sinus situ sola solos
    sonar sosa suka talon tamed teras tita titi tobin tomi toner topaz tope totem toxin tul tuner tux vala valet vane
    vares veda vedi vena vex vinod visas vogel vomit vot wager waka waved weg wiser woken zafar zaki zeke zola zona
    """
)
"""Rare pieces that mean something all the same (a word, a person, a brand) or offend: no trigger is made of them."""
