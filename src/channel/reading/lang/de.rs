//! German. "Note" is no cue: school grades run the other way, 1 is the best.

use super::Language;

pub(super) const LANGUAGE: Language = Language {
    values: ["eins", "zwei", "drei", "vier", "fünf fuenf"],
    one: "ein eine einen einer einem",
    numbers: "null sechs sieben acht neun zehn elf zwölf zwoelf zwanzig dreißig fünfzig hundert tausend halb halbe einhalb \
        anderthalb schulnote zensur",
    doubt: "nicht kein keine keinen keiner keinem nie niemals fast beinahe vielleicht eventuell zwischen oder wenn falls hätte \
        hatte hätten wäre waere waren bis außer ausser weniger mehr als aber obwohl warum wieso wie eher höchstens mindestens \
        wollte sollte könnte weder ob ohne etwa ungefähr statt sondern nur um",
    follows: "aber weil denn danke leider obwohl trotzdem niemand keiner ich er sie wegen dankeschön",
    good: "gut guter gute super toll prima perfekt ausgezeichnet exzellent hervorragend klasse spitze schnell freundlich nett \
        zufrieden bestens top genial kompetent hilfreich",
    bad: "schlecht schlechter schlechte mies miserabel katastrophe katastrophal furchtbar schrecklich langsam unfreundlich \
        enttäuscht enttäuschend unverschämt unmöglich unzufrieden",
    middling: "mittel mittelmäßig mäßig okay naja durchschnittlich ausreichend befriedigend",
    greeting: "hallo hi moin guten tag morgen abend servus danke dank vielen schönen herzlichen ok ja gerne antwort eine ein ne \
        sehr service support hilfe arbeit leistung alles war der die und für",
    frame: "das ist es ich sage würde sagen von mir gibt s meine unser uns war wirklich wie immer hat geklappt",
    stronger: "sehr so zu echt wirklich total absolut richtig",
    unit: "stern sterne sternen punkt punkte punkten",
    adjectives: "klare klares gute solide starke volle glasklare sichere dicke",
    articles: "eine ein einen ne",
    cues: "gebe gib geben vergebe vergeben bewerte bewertung wertung score sage sagen antwort verdient punktzahl würde",
    objects: "ich euch ihnen dir ihm ihr eine den die das es mit ist lautet ganz meine service",
    work: "service support arbeit hilfe leistung beratung und betreuung",
    of: "von aus auf",
    from: "von",
    me: "mir uns meiner",
    for_: "für",
    counted: "sekunde sekunden minute minuten min stunde stunden std h uhr tag tage tagen woche wochen monat monate monaten \
        jahr jahre jahren mal person personen leute kinder mitarbeiter kollegen anrufe tickets anfragen probleme fragen \
        mails nachrichten euro cent dollar franken prozent januar februar märz april mai juni juli august september oktober \
        november dezember montag dienstag mittwoch donnerstag freitag samstag sonntag straße str etage stock stück ticket",
    stop: &[
        "ich will das nicht mehr",
        "stopp",
        "stoppen",
        "aufhören",
        "hör auf",
        "hört auf",
        "hören sie auf",
        "abmelden",
        "abmeldung",
        "abbestellen",
        "beenden",
        "ende",
        "schluss",
        "austragen",
        "widerrufen",
        "widerruf",
        "kündigen",
        "löschen",
        "abbrechen",
        "genug",
        "nicht mehr",
        "keine mehr",
        "bitte abmelden",
        "nie wieder",
        "schluss damit",
        "schluss jetzt",
        "lass das",
    ],
    stop_firmly: "stopp abmelden abbestellen",
    stop_within: &[
        "keine|keinerlei .. nachrichten|nachricht|sms|texte|mails|umfragen|anfragen|fragen mehr",
        "keine weiteren|weitere nachrichten|sms|mails|umfragen|anfragen",
        "schreiben|kontaktieren|belästigen|nerven|texten sie .. nicht|nie|nix mehr",
        "schreibt|schreib|schreibe|kontaktiert|kontaktiere|belästigt|nervt|textet .. mir|mich|uns .. nicht|nie mehr",
        "nicht mehr|weiter kontaktiert|kontaktieren|angeschrieben|anschreiben|belästigt|schreiben|texten",
        "nie wieder schreiben|kontaktieren|anschreiben",
        "lass|lasst|lassen|lasse .. in ruhe|frieden",
        "hört|hör|hören|höre .. auf .. zu|mit schreiben|nerven|texten|sms|nachrichten|belästigen|kontaktieren",
        "hört|hör|hören .. auf .. mir|mich",
        "aufhören .. schreiben|texten|nachrichten",
        "löschen|lösche|löscht|entfernen|entfernt|entferne|streichen|streicht .. nummer|telefonnummer|handynummer",
        "nehmen|nehmt|nimm|streichen|streicht|tragen|tragt .. mich .. liste|verteiler",
        "melden|melde|meldet .. mich ab",
        "mich .. abmelden",
    ],
    unless: "sie er es man keiner niemand habe haben hatte bekomme bekam erhalte kommen kamen gab kam warum nie kann",
    start: &["starten", "anmelden", "fortsetzen"],
    help: &["hilfe", "info bitte", "helfen sie mir"],
    polite: "bitte danke sofort jetzt endlich hallo ok vielen dank einfach doch mal",
};
