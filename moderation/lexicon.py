"""Own, small word lists for the rules in `moderation.prompts`. Entries are normalised: lower case, plain letters."""

from __future__ import annotations


def _phrases(text: str) -> frozenset[str]:
    return frozenset(phrase.strip() for line in text.splitlines() for phrase in line.split(",") if phrase.strip())


# People who are, or are likely to be, under age.
MINORS = _phrases(
    """
    child, children, childlike, kid, kids, minors, underage, underaged, preteen, preteens, tween, tweens, teen, teens,
    teenage, teenager, teenagers, toddler, toddlers, infant, infants, baby, babies, newborn, schoolgirl, schoolgirls,
    schoolboy, schoolboys, little girl, little girls, little boy, little boys, young girl, young girls, young boy,
    young boys, small girl, small boy, loli, lolita, lolicon, shota, shotacon, kindergartner, preschooler,
    first grader, middle schooler, high schooler, adolescent, adolescents, juvenile, barely legal, jailbait
    """
)

# Sexual beyond doubt.
EXPLICIT = _phrases(
    """
    porn, porno, pornographic, pornography, hentai, hardcore sex, sex scene, sex tape, sex act, sex acts, having sex,
    oral sex, anal sex, group sex, sexual intercourse, intercourse, blowjob, handjob, gangbang, orgy, masturbate,
    masturbates, masturbating, masturbation, ejaculate, ejaculation, orgasm, penis, vagina, genitals, genitalia,
    erotica, xxx, nsfw, bdsm, fellatio, cunnilingus, creampie, bukkake, camgirl, camgirls, dildo, fuck me, fucking her,
    fucking him, sexually explicit, sexual abuse, sexually abused, molest, molests, molesting, rape, rapes, raping
    """
)

# Sexual when said of a minor; of an adult it is for the classifier to weigh.
SUGGESTIVE = _phrases(
    """
    sex, sexual, sexually, sexy, sexualized, sexualised, erotic, erotically, nude, nudes, nudity, naked, topless,
    bottomless, undressed, undressing, undresses, stripping, striptease, lingerie, thong, seductive, seductively,
    seducing, provocative pose, lustful, aroused, horny, fetish, kinky, making out, twerking, see through
    """
)

# Harmless uses of words above; taken out of the text before the sexual rules look at it.
HARMLESS = _phrases(
    """
    naked eye, naked eyes, naked mole rat, naked mole rats, naked flame, nude lipstick, nude palette, nude tones,
    nude shade, nude heels, nude nail polish, sex education, sex ratio, stripping paint, stripping wallpaper,
    baby blue, baby pink, baby grand, baby's breath, kid gloves, rape seed, rape field, rape fields, oilseed rape,
    child's pose, naked cake, nude beige, nude colour, nude color, baby carrots, baby spinach
    """
)

# Things that must not be explained.
WEAPONS = _phrases(
    """
    bomb, bombs, pipe bomb, pipe bombs, nail bomb, car bomb, dirty bomb, explosive, explosives, explosive device, ied,
    molotov cocktail, molotov cocktails, molotov, napalm, nerve agent, nerve gas, sarin, ricin, mustard gas,
    chemical weapon, chemical weapons, biological weapon, biological weapons, bioweapon, bioweapons, anthrax,
    ghost gun, ghost guns, untraceable gun, gun silencer, silencer, suicide vest, pressure cooker bomb, poison gas
    """
)
HARMLESS_BOMBS = _phrases(
    """
    bath bomb, bath bombs, seed bomb, seed bombs, glitter bomb, cherry bomb, cocoa bomb, cocoa bombs, chocolate bomb,
    chocolate bombs, photo bomb, love bomb, cream bomb, flavour bomb, flavor bomb, bomb shelter, bomb cyclone
    """
)
DRUGS = _phrases("meth, methamphetamine, crystal meth, fentanyl, heroin, crack cocaine, cocaine, mdma, ghb, lsd")
MAKING = _phrases(
    """
    make, makes, making, build, builds, building, assemble, assembling, construct, constructing, create, creating,
    synthesize, synthesise, synthesizing, cook, cooking, produce, producing, manufacture, manufacturing, brew, print
    """
)
INSTRUCTING = _phrases(
    """
    how to, how do i, how can i, how one can, how you can, tutorial, tutorials, instructions, instruction, recipe,
    step by step, guide, explain, explains, explaining, explainer, teach, teaches, teaching, demonstrates how, diy,
    walkthrough, lesson
    """
)
SELF_HARM = _phrases(
    """
    kill myself, kill yourself, killing yourself, killing myself, kill oneself, hang myself, hang yourself,
    hanging yourself, commit suicide, committing suicide, suicide method, suicide methods, end my life, end your life,
    cut myself, cut yourself, cutting yourself, self harm, overdose on pills, starve myself, starve yourself
    """
)
EXTERMINATION = _phrases(
    "exterminate, exterminating, extermination of, kill all, killing all, gas the, gassing, death to, genocide of, "
    "lynch, lynching, ethnic cleansing of, wipe out all, burn all, shoot all, hang all"
)
GROUPS = _phrases(
    """
    jews, jew, muslims, muslim, christians, hindus, sikhs, arabs, blacks, black people, whites, white people, asians,
    africans, mexicans, roma, gypsies, immigrants, migrants, refugees, gays, gay people, lesbians, homosexuals, queers,
    trans people, transgender people, women, disabled people, foreigners
    """
)

# Living people whose likeness needs consent; full names only, since surnames are shared.
PUBLIC_FIGURES = _phrases(
    """
    donald trump, joe biden, kamala harris, barack obama, michelle obama, hillary clinton, bill clinton, george w bush,
    bernie sanders, nancy pelosi, ron desantis, jd vance, gavin newsom, vladimir putin, xi jinping, kim jong un,
    narendra modi, emmanuel macron, marine le pen, olaf scholz, friedrich merz, angela merkel, keir starmer,
    boris johnson, rishi sunak, nigel farage, giorgia meloni, viktor orban, recep tayyip erdogan, benjamin netanyahu,
    volodymyr zelensky, volodymyr zelenskyy, justin trudeau, mark carney, lula da silva, jair bolsonaro, javier milei,
    king charles, prince william, kate middleton, prince harry, meghan markle, pope leo, dalai lama, greta thunberg,
    elon musk, jeff bezos, mark zuckerberg, bill gates, sam altman, tim cook, taylor swift, beyonce, kanye west,
    kim kardashian, rihanna, drake the rapper, justin bieber, selena gomez, ariana grande, billie eilish, lady gaga,
    ed sheeran, adele the singer, tom cruise, brad pitt, angelina jolie, leonardo dicaprio, scarlett johansson,
    emma watson, jennifer lawrence, jennifer aniston, johnny depp, keanu reeves, will smith, dwayne johnson, tom hanks,
    zendaya, timothee chalamet, margot robbie, oprah winfrey, ellen degeneres, joe rogan, mrbeast, lionel messi,
    cristiano ronaldo, kylian mbappe, lebron james, serena williams, roger federer, lewis hamilton
    """
)

# Characters and marks that belong to somebody.
TRADEMARKS = _phrases(
    """
    mickey mouse, minnie mouse, donald duck, winnie the pooh, elsa from frozen, buzz lightyear, lightning mcqueen,
    darth vader, luke skywalker, baby yoda, grogu, r2 d2, stormtrooper, spider man, spiderman, iron man,
    captain america, incredible hulk, black panther marvel, wonder woman, batman, superman, the joker dc, harry potter,
    hermione granger, hogwarts, gandalf, frodo baggins, james bond 007, shrek, minions movie, spongebob,
    bart simpson, homer simpson, peppa pig, paw patrol, bluey heeler, hello kitty, pikachu, pokemon, super mario,
    mario kart, luigi nintendo, sonic the hedgehog, naruto, son goku, dragon ball, sailor moon, totoro, barbie doll,
    transformers optimus prime, optimus prime, teenage mutant ninja turtles, scooby doo, bugs bunny, tom and jerry,
    coca cola logo, nike logo, apple logo, mcdonalds logo, disney logo, lego star wars
    """
)
