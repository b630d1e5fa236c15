//! Dutch.

use super::Language;

pub(super) const LANGUAGE: Language = Language {
    values: ["een", "twee", "drie", "vier", "vijf"],
    one: "een één",
    numbers: "nul zes zeven acht negen tien elf twaalf vijftien twintig dertig vijftig honderd duizend half halve anderhalf",
    doubt: "niet geen nooit bijna misschien wellicht tussen of als had hadden tot behalve minder meer dan maar hoewel \
        waarom hoe eerder hooguit hoogstens minstens wilde zonder ongeveer rond noch alleen maximaal tenzij",
    follows: "maar omdat want bedankt dank dankjewel helaas hoewel niemand ik hij ze het wegens",
    good: "goed goede prima super top perfect uitstekend geweldig fantastisch snel snelle vriendelijk aardig tevreden fijn \
        fijne keurig netjes behulpzaam",
    bad: "slecht slechte waardeloos vreselijk verschrikkelijk langzaam traag onvriendelijk teleurgesteld teleurstellend belabberd \
        ontevreden schandalig",
    middling: "matig oké oke redelijk gemiddeld voldoende",
    greeting: "hallo hoi goedemorgen goedemiddag goedenavond dag bedankt dank je jullie u wel ok ja antwoord een heel erg zeer \
        service hulp werk support alles was de het en geholpen veel",
    frame: "dit dat is ik zeg zou zeggen van mij voor mijn ons onze s gaf werd ben",
    stronger: "heel erg zeer echt zo te super",
    unit: "ster sterren punt punten",
    adjectives: "dikke goede mooie nette ruime volle solide",
    articles: "een",
    cues: "geef geven gaf score beoordeling waardering beoordeel cijfer zeg zeggen antwoord verdient verdienen",
    objects: "ik jullie je u hem haar een het de is met mijn zou van als",
    work: "service hulp werk ondersteuning en ervaring support",
    of: "van uit op de",
    from: "van voor",
    me: "mij me ons",
    for_: "voor",
    counted: "seconde seconden minuut minuten min uur uren dag dagen week weken maand maanden jaar jaren keer maal persoon \
        personen mensen kinderen medewerkers collega telefoontjes tickets meldingen problemen vragen mails berichten euro euros \
        cent procent januari februari maart april mei juni juli augustus september oktober november december maandag dinsdag \
        woensdag donderdag vrijdag zaterdag zondag straat verdieping etage stuks",
    stop: &[
        "stop hiermee",
        "stop daarmee",
        "stoppen",
        "stop maar",
        "afmelden",
        "meld af",
        "uitschrijven",
        "opzeggen",
        "annuleren",
        "einde",
        "beëindigen",
        "intrekken",
        "genoeg",
        "hou op",
        "houd op",
        "kap ermee",
        "stop ermee",
        "niet meer",
        "geen berichten",
        "verwijderen",
        "nooit meer",
    ],
    stop_firmly: "afmelden uitschrijven",
    stop_within: &[
        "niet meer .. ontvangen",
        "geen .. berichten|berichtjes|bericht|sms|smsjes|mails|vragen|enquêtes|appjes meer",
        "stuur|stuurt|sturen .. geen|niet|niks .. meer|berichten|sms",
        "laat|laten me|mij|ons met rust",
        "stop|stopt|stoppen|hou|houd|houdt|kap .. sturen|smsen|berichten|appen|vragen|mailen|lastigvallen|contacteren|schrijven",
        "stop|stopt|hou|houd|kap .. sms",
        "haal|haalt|verwijder|verwijdert|schrap|wis|wist .. nummer|lijst",
        "neem|neemt .. geen contact meer",
        "niet meer .. contact*|benader*|lastig*|smsen|berichten|schrijven|mailen",
        "niet langer .. ontvangen|berichten|sms",
        "schrijf me|mij uit",
        "meld me|mij af",
        "wil .. afmelden|uitschrijven",
        "val|valt me|mij niet .. lastig",
    ],
    unless: "krijg kreeg ontvang heb kregen ontving had waarom niet kan kon",
    start: &["starten", "aanmelden", "beginnen", "hervatten"],
    help: &["hulp", "informatie", "help mij"],
    polite: "alsjeblieft alstublieft aub svp a u b bedankt dank je wel nu meteen hallo hoi ok graag gewoon onmiddellijk",
};
