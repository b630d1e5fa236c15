//! French.

use super::Language;

pub(super) const LANGUAGE: Language = Language {
    values: ["", "deux", "trois", "quatre", "cinq"],
    one: "un une",
    numbers: "zéro six sept huit neuf dix onze douze quinze vingt trente cinquante cent mille demi demie",
    doubt: "pas ne n ni jamais presque peut être entre ou si aurais aurait moins plus sauf excepté mais quoique pourquoi \
        comment plutôt aucun aucune sans environ autour voulais devrait pourrait sinon non guère maximum minimum",
    follows: "mais parce merci malgré personne car il elle je j",
    good: "bien bon bonne excellent excellente parfait parfaite super génial géniale formidable rapide agréable aimable content \
        contente satisfait satisfaite top impeccable nickel efficace",
    bad: "mal mauvais mauvaise nul nulle terrible horrible lent lente catastrophique déçu déçue décevant décevante inadmissible \
        lamentable honteux",
    middling: "moyen moyenne correct correcte passable bof",
    greeting: "bonjour bonsoir salut merci beaucoup très ok oui réponse un une service travail aide tout tous mille et le la de \
        votre d accord",
    frame: "c est ce ça cela vaut je j dirais ma pour moi part était fut vous lui leur s a été mon on suis",
    stronger: "très si trop vraiment tellement super",
    unit: "étoile étoiles point points",
    adjectives: "bon beau gros solide petit joli",
    articles: "un une",
    cues: "donne donnerais donner mets mettrais mettre attribue dirais score vaut mérite évaluation réponse ma",
    objects: "un une la le de du vous lui leur est note l votre ça bien",
    work: "service travail aide assistance support et accueil expérience",
    of: "sur de",
    from: "de pour",
    me: "ma moi nous",
    for_: "pour",
    counted: "seconde secondes minute minutes min heure heures h jour jours semaine semaines mois an ans année années fois \
        personnes gens enfants agents appels tickets demandes problèmes questions mails messages euros euro dollars francs \
        centimes pourcent cents janvier février mars avril mai juin juillet août septembre octobre novembre décembre lundi \
        mardi mercredi jeudi vendredi samedi dimanche rue avenue boulevard place étage accidents",
    stop: &[
        "arrêt",
        "arrêter",
        "arrêtez",
        "arrête",
        "stopper",
        "désabonner",
        "désabonnement",
        "me désabonner",
        "désinscription",
        "désinscrire",
        "me désinscrire",
        "annuler",
        "résilier",
        "fin",
        "quitter",
        "révoquer",
        "assez",
        "ça suffit",
        "plus rien",
        "cessez",
        "supprimer",
        "non stop",
    ],
    stop_firmly: "arrêt désabonner désinscription",
    stop_within: &[
        "m|me|nous|moi écrivez|écris|écrire|envoyez|envoie|envoyer|contactez|contacte|contacter|dérangez|dérange|harcelez|appelez .. plus|rien|jamais",
        "plus de|aucun|d message|messages|sms|textos|mails|enquêtes|questionnaires",
        "arrête|arrêtez|arrêter|cessez|cesse|cesser|stop de|d .. envoy*|écri*|contact*|harcel*|dérang*|appel*|embêt*|spam*|message|messages|sms",
        "arrêtez|arrête|stop|cessez .. messages|sms|textos|mails|spams",
        "laisse|laissez moi|nous tranquille|tranquilles",
        "laissez|laisse|fichez|foutez moi|nous .. paix",
        "veux|souhaite|désire|voudrais|aimerais plus .. recevoir|être|message|messages|sms|contacté|contactée",
        "veux|souhaite|désire|voudrais .. pas .. recevoir|être contacté|messages|sms",
        "me désabonn*|désinscri*",
        "désabonn*|désinscri* moi|svp|s",
        "retirez|supprimez|effacez|enlevez|retire|supprime|efface|enlève .. numéro|liste",
        "retirez|supprimez|enlevez moi",
    ],
    unless: "il elle ils elles vous a ai y avez reçu encore pas",
    start: &["commencer", "reprendre", "démarrer"],
    help: &["aide", "aidez moi", "information"],
    polite: "s il vous te plaît svp stp merci beaucoup maintenant bonjour ok immédiatement de suite tout",
};
