"""Names that exist, as stand-ins: a model reads them as what they are, a person or a town.

Short lists for four languages. A person's name is answered by one of the language that its own
letters suggest, and of the gender that it suggests, so that ``she`` and ``Frau`` still agree; where
it suggests none, by one that is given to anybody. None is an everyday word, none is famous by
itself, none is among 30,000 frequent word pieces (tests/unit/test_pseudonym_familiar.py looks).

What is lost against coined names: an answer may name somebody so by itself (a famous bearer, a
person made up for an example), and the original is then put there; rare names make that rare, and
a name that a user, system or tool text holds is given up. Somebody may be called so in truth: what
leaves says nothing about them, and the provider cannot know. Of one list few can be chosen, so that
two conversations now and then share a stand-in, for different originals. What is won, besides
right answers (bench/utility.py): a name that the detector missed does not stand out among those
that it found ("hidden in plain sight", Carrell et al., JAMIA 2013).
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from types import MappingProxyType

from privity.infer.pseudonyms.coined import Pick, coined

__all__ = ["candidates", "gender_of", "language_of", "marked", "plain"]

_FEMALE = MappingProxyType(
    {
        "en": (
            "Annabeth Beatrix Bronagh Calista Drusilla Elspeth Ermintrude Fenella Ginevra "
            "Gwendolyn Henrietta Imelda Jemima Kerensa Lavinia Leonora Lucasta Mehitabel "
            "Morwenna Nerissa Oonagh Ottilie Rosalind Rowena Sophronia Tamsin Winifred Zenobia"
        ).split(),
        "de": (
            "Adelgunde Almut Annegret Birgitta Brunhilde Edeltraud Elfriede Erdmute Friederike "
            "Gerlinde Gudrun Gunhild Hannelore Hedwig Heidrun Heilwig Hiltrud Ingeborg Irmgard "
            "Kunigunde Lieselotte Mechthild Ottilie Reinhild Roswitha Sieglinde Sigrun Solveig "
            "Swantje Thekla Traudel Ulrike Waltraud Wiebke Wilhelmine Gesche Käthe Bärbel Dörte "
            "Gönna Hergard Ännchen Sünje"
        ).split(),
        "fr": (
            "Albertine Apolline Blandine Celestine Clotilde Clothilde Edwige Ermeline Eulalie "
            "Fantine Faustine Gersende Ghislaine Hermeline Isaure Joséphine Josiane Léontine "
            "Lucille Ludivine Mahaut Mauricette Mélisande Mireille Odette Ombeline Pélagie "
            "Perrine Philomène Quitterie Rosalie Roselyne Solange Sylvaine Théodora Tiphaine "
            "Violaine Yolande Zélie"
        ).split(),
        "es": (
            "Apolonia Araceli Azucena Begoña Casilda Cayetana Covadonga Dionisia Domitila "
            "Eufemia Fuensanta Genoveva Hortensia Itziar Leocadia Maricarmen Obdulia Petronila "
            "Rosaura Saturnina Sonsoles Ursulina Zoraida"
        ).split(),
    }
)
_MALE = MappingProxyType(
    {
        "en": (
            "Algernon Alistair Barnaby Bartholomew Caradoc Crispin Cuthbert Digby Ebenezer Emlyn "
            "Ephraim Fergus Gwilym Hamish Horatio Humphrey Inigo Lachlan Leofric Lysander Mungo "
            "Obadiah Osbert Peregrine Phineas Randolph Septimus Tarquin Thaddeus Torquil Zebedee"
        ).split(),
        "de": (
            "Adalbert Albrecht Alwin Arnulf Balduin Burkhard Dankwart Detlef Diethelm Eberhard "
            "Eckhard Egbert Ehrenfried Engelbert Friedhelm Gandolf Gebhard Gerwin Gisbert "
            "Gottfried Guntram Hartmut Helmfried Hinnerk Ingolf Jochen Korbinian Leberecht "
            "Lothar Ludger Meinhard Norbert Ortwin Reinhold Ruprecht Siegbert Tankred Volkmar "
            "Wendelin Wieland Götz Jörn Sönke Günther Lüder"
        ).split(),
        "fr": (
            "Achille Alphonse Anatole Anselme Aristide Barnabé Baudouin Célestin Cyprien Élie "
            "Enguerrand Eustache Evariste Firmin Gaspard Gatien Ghislain Gontran Hippolyte "
            "Isidore Landry Léonce Léopold Maxence Onésime Philibert Rodolphe Séverin Théodule "
            "Thibault Urbain Valère Zéphyrin"
        ).split(),
        "es": (
            "Abelardo Adalberto Agapito Anselmo Arcadio Baldomero Bonifacio Casimiro Celedonio "
            "Cipriano Crisanto Demetrio Eleuterio Eliseo Epifanio Evaristo Fulgencio Gaudencio "
            "Gervasio Heliodoro Heriberto Hermenegildo Isidoro Ladislao Leopoldo Macario "
            "Melquíades Nicanor Onofre Policarpo Saturnino Segismundo Servando Teófilo Toribio "
            "Venancio Wenceslao Zacarías"
        ).split(),
    }
)
_ANYBODYS = (
    "Ainsley Averill Brogan Ellery Finley Greer Sacha Sascha Tierney Arlen Bellamy Blakely "
    "Carlin Channing Corliss Darcey Embry Harlow Jarrah Jessamy Keelan Kelby Kerrigan Linley "
    "Merrill Odell Rennie Romilly Selby Skyler Sloane Teagan Tegan Tully Remi Rylan Tamsyn "
    "Shiloh Kelsey Kyrie Mckinley Rikki Sandie Torey Tristyn Waverly Ellison Aubin Eike "
    "Kersten Dagny Friedel Kaya Luan Maxime Noa Loris"
).split()
_SURNAMES = MappingProxyType(
    {
        "en": (
            "Abernathy Ackroyd Arkwright Ashcombe Babcock Bagshaw Barraclough Bickerstaff "
            "Blenkinsop Braithwaite Brocklehurst Cadwallader Chetwynd Cholmondeley Clutterbuck "
            "Coldwell Cruikshank Dalrymple Entwistle Etherington Fanshawe Featherstone "
            "Fothergill Garside Gillingham Greenhalgh Hathersage Heathcote Higginbotham "
            "Hinchcliffe Huddlestone Inglethorpe Kilbride Langstaffe Lockhart Micklethwait "
            "Murgatroyd Oglethorpe Ormerod Ponsonby Postlethwaite Pumphrey Ravenscroft Rowbotham "
            "Satterthwaite Scholefield Shackleford Shuttleworth Silverthorne Stallworthy "
            "Sutcliffe Tattersall Thistlethwaite Threlfall Throckmorton Tilbrook Trelawny "
            "Trevanion Twisleton Uttley Varley Venables Wagstaffe Warburton Whittingham "
            "Wigglesworth Wolstenholme Wrigglesworth Yardley Youlton"
        ).split(),
        "de": (
            "Achleitner Aschenbrenner Bartelheimer Biedermeyer Birkholz Bollmann Brockstedt "
            "Buddensiek Dahlmeier Dieckhoff Drechsel Ebersbach Eichstaedt Engelbrecht "
            "Falkenhagen Finkbeiner Freudenthal Gattermann Gehrmann Grabowsky Haberkorn "
            "Hackbarth Hasenfratz Hellwege Hinrichsen Holtkamp Immenroth Jaeschke Kaltenbach "
            "Kleinschmidt Kortmann Kretschmar Langenhahn Leimkuhler Lindhorst Lohmeyer Mackensen "
            "Meinecke Mittelstaedt Niedermayer Oberhauser Osterkamp Petersohn Pfannenstiel "
            "Quandt Rademacher Rautenberg Riemenschneider Rosenbaum Ruprecht Schadewald "
            "Schimmelpfennig Steinhauer Stuckenberg Tiedemann Trautwein Uhlenbrock Vandersee "
            "Wackernagel Weidenbach Westermann Wiedenhoeft Wittekind Zangerle Zimmerling "
            "Böhringer Düsterhöft Fröhlke Grünewald Häberlein Höllerer Köpernick Löwenthal "
            "Mühlhaus Rüdenauer Schäufele Schönfelder Stürzenbecher Wörtmann"
        ).split(),
        "fr": (
            "Abadie Aubertin Audibert Barthelemy Beauchemin Berthomieu Boisvert Bourgoin "
            "Brousseau Cazenave Chabrier Charbonneau Chauvigny Coquelin Courcelles Dandurand "
            "Desrosiers Dubreuil Dufresne Duquesnoy Falconnier Ferrandin Fontanel Garandeau "
            "Gilardeau Guillemot Hautecoeur Jaubertou Lacassagne Lachapelle Lambertin Lanoizelet "
            "Latourette Lefrancq Lestrange Malbranque Maupertuis Montbrun Montclar Nadeau "
            "Ollivier Pasquier Peltier Pontchartrain Rabaste Rousselot Saintonge Servajean "
            "Tavernier Thibodeau Tourangeau Vaillancourt Valcourt Vignaud Bélanger Chéreau "
            "Déchelette Frémont Géraudel Hébrard Lévêque Mérieux Néraudeau Périgaud Régnard "
            "Sévérac Trémoille Vézinet"
        ).split(),
        "es": (
            "Abascal Aguirre Alcantara Almagro Altamirano Aramburu Arrieta Balcells Barrionuevo "
            "Basterra Beltrandi Berganza Bustamante Cabanillas Calatrava Casavieja Cienfuegos "
            "Collantes Covarrubias Echevarria Escalante Espronceda Etxeberria Fuenmayor Galdames "
            "Gallastegui Garmendia Gorostiza Guadarrama Guerricabeitia Ibarguren Irigoyen "
            "Izaguirre Jaramillo Larrazabal Legazpi Lizarraga Llorente Madariaga Mendizabal "
            "Montalban Mugica Narvaez Olazabal Ordovas Oyarzun Palomares Peralejo Recalde "
            "Requejo Rivadeneira Sagastizabal Salvatierra Sotomayor Torremocha Uriarte Urquijo "
            "Valdepenas Valderrama Vallejuelo Villaescusa Villalobos Zabaleta Zamarripa "
            "Zubizarreta Zumalacarregui Ibáñez Bermúdez Cárdenas Galíndez Góngora Ordóñez Peláez "
            "Quiñones Yáñez"
        ).split(),
    }
)
_TOWNS = MappingProxyType(
    {
        "en": (
            "Abergavenny Aldeburgh Alnwick Ambleside Arbroath Ashbourne Axminster Bakewell "
            "Barnstaple Berkhamsted Bideford Bridlington Buckfastleigh Cirencester Cleethorpes "
            "Clitheroe Cromarty Crewkerne Daventry Dolgellau Dunfermline Ellesmere Evesham "
            "Faversham Fordingbridge Glossop Godalming Grantham Haslemere Haverhill Hexham "
            "Honiton Hungerford Ilkley Kettering Kidderminster Kirkcaldy Ledbury Leominster "
            "Lutterworth Malmesbury Melksham Minehead Nantwich Oakham Okehampton Ormskirk "
            "Oswestry Padstow Penrith Pershore Pitlochry Ramsbottom Saxmundham Sedbergh "
            "Shaftesbury Skelmersdale Skipton Southwold Stowmarket Tavistock Tewkesbury Thetford "
            "Tiverton Uttoxeter Wadebridge Wallingford Wantage Wymondham"
        ).split(),
        "de": (
            "Alsfeld Ankum Apolda Bacharach Bersenbruck Biberach Bietigheim Bopfingen Brakel "
            "Calw Cloppenburg Coesfeld Crailsheim Delbruck Dillingen Dinkelscherben Einbeck "
            "Ellwangen Erkelenz Eschwege Freudenstadt Furtwangen Geislingen Germersheim "
            "Grevenbroich Gunzenhausen Haldensleben Hersbruck Holzminden Hoyerswerda Husum "
            "Immenstadt Itzehoe Kaufbeuren Kitzingen Korbach Kulmbach Lampertheim Leutkirch "
            "Lemgo Luckenwalde Marktredwitz Meldorf Mosbach Neuruppin Nienburg Oberkirch Oschatz "
            "Perleberg Pirmasens Prenzlau Rastatt Rottweil Salzwedel Schmalkalden Schwandorf "
            "Senftenberg Sigmaringen Sonthofen Stadthagen Tauberbischofsheim Torgau Uelzen "
            "Usingen Viersen Warendorf Wernigerode Wittstock Wunstorf Zeulenroda Böblingen "
            "Büdingen Künzelsau Löbau Mühlacker Nördlingen Öhringen Schlüchtern Überlingen"
        ).split(),
        "fr": (
            "Abbeville Ancenis Argentan Aubagne Aurillac Barbezieux Beaugency Bergerac Bernay "
            "Bressuire Brignoles Brioude Cahors Carpentras Castelnaudary Castres Challans "
            "Chaumont Cholet Commercy Compiegne Dinan Douarnenez Draguignan Dreux Espalion "
            "Figeac Fougerolles Gaillac Gisors Guingamp Issoire Issoudun Lannion Lodeve Loudun "
            "Louhans Lunel Mamers Marmande Mayenne Mirecourt Moissac Montargis Montauban Morlaix "
            "Mortagne Nogaro Noyon Oloron Parthenay Pithiviers Ploermel Pontarlier Quimperle "
            "Redon Remiremont Rodez Romorantin Saumur Tarascon Thouars Uzerche Vesoul Vierzon "
            "Villefranche Vitré Béthune Châteaulin Évron Hesdin Pézenas Rambervillers"
        ).split(),
        "es": (
            "Alcantarilla Alcaudete Alfaro Almansa Almazora Andujar Antequera Aracena Aranjuez "
            "Arnedo Astorga Azpeitia Baeza Barbastro Baza Benavente Bermeo Betanzos Burriana "
            "Cabezuela Calahorra Calatayud Caravaca Carmona Cazorla Chiclana Consuegra Ejea "
            "Estepona Fraga Getxo Guadix Haro Hellin Huelma Igualada Jumilla Lalueza Laredo "
            "Ledesma Loja Lorca Manzanares Marchena Mondragon Montblanc Moratalla Motril Ordizia "
            "Orihuela Osuna Palencia Pozoblanco Priego Puertollano Requena Ribadeo Sagunto "
            "Sanxenxo Segorbe Tafalla Talavera Tarancon Tarazona Tomelloso Tordesillas "
            "Torrelavega Tudela Utrera Valdemoro Villarrobledo Vinaroz Yecla Zafra Zumaia "
            "Alcañiz Gandía Éibar"
        ).split(),
    }
)
_COMMON_FEMALE = frozenset(
    (
        "mary patricia jennifer linda elizabeth barbara susan jessica sarah karen nancy lisa "
        "betty margaret sandra ashley kimberly emily donna michelle carol amanda melissa deborah "
        "stephanie rebecca laura sharon cynthia kathleen amy angela shirley anna brenda emma "
        "pamela nicole helen samantha katherine christine rachel carolyn janet catherine heather "
        "diane olivia julie joyce victoria ruth alice judith megan hannah grace martha priya "
        "fatima aisha ayşe ursula sabine monika petra renate gisela karin birgit ingrid heike "
        "brigitte anja claudia katrin kerstin steffi silke ute anke greta lena lea sophie hanna "
        "johanna marlene elke claire isabelle sylvie nathalie valérie celine céline sandrine "
        "chantal agnès manon camille chloé aurélie élodie juliette margaux amélie hélène inès "
        "carmen pilar dolores rosario mercedes isabel raquel beatriz inés rocío esther maribel "
        "conchita soledad consuelo luz paz belén"
    ).split()
)
_COMMON_MALE = frozenset(
    (
        "james robert john michael david william richard joseph thomas christopher charles "
        "daniel matthew anthony mark donald steven andrew paul joshua kenneth kevin brian "
        "timothy ronald george jason edward jeffrey ryan jacob nicholas gary eric jonathan "
        "stephen larry justin scott brandon benjamin samuel gregory alexander patrick frank "
        "raymond jack dennis jerry tyler aaron henry peter adam harold liam noah oliver harry "
        "luke simon mohammed ahmed ali tobias hans klaus jürgen wolfgang dieter manfred uwe "
        "günter horst bernd heinz werner stefan andreas matthias sebastian florian lukas felix "
        "jonas tim jan jens sven ralf rainer gerhard helmut karl otto luca noel elias jean "
        "pierre philippe alain bernard marcel louis jacques rené gérard laurent nicolas julien "
        "guillaume hugo mathieu antoine olivier thierry pascal christophe étienne yves didier "
        "josé juan antonio manuel francisco ignacio javier carlos miguel ángel rafael pedro "
        "alejandro fernando pablo sergio jorge alberto álvaro diego raúl iván rubén jesús "
        "enrique vicente andrés ramón luis joaquín santiago roberto jaime borja"
    ).split()
)
_ANYBODYS_TOO = frozenset(
    "luca joshua nikita sasha andrea mika jona ezra elia nicola noa ira".split()
)
_FEMALE_FORM = re.compile(r"(?:a|ine|een|ette|elle|lynn?e?|anne|enne|ise|yce|trude?|hilde?|gard)\Z")
_MALE_FORM = re.compile(r"(?:o|us|bert|ard|olf|ias|fried|win|mund|mond)\Z")
_LOOKS = (
    (
        "de",
        re.compile(r"[äöüß]|(?:mann|berger|inger|huber|meier|meyer|maier|stein|schmidt|wald)\Z"),
    ),
    ("es", re.compile(r"[ñíóáú]|(?:[aeo]z|ero|illo|ales)\Z")),
    ("fr", re.compile(r"[éçèêëîïôûœ]|(?:eaux?|eux|oux|ault|ette|euil|[ei]lle|reuil|ier)\Z")),
)


def candidates(what: str, original: str, language: str, pick: Pick) -> Iterator[str]:
    """Yield names that exist, in random order, and then coined ones without end.

    Args:
        what: ``given``, ``surname``, ``place`` or ``street``; of other sorts all are coined.
        original: whose language and gender they are like.
        language: of the conversation, where the original suggests none.
        pick: the source of randomness.
    """
    spoken = language_of(original) or language
    # One with marks stands for one with marks: either is also spelled without them.
    names = [name for name in _listed(what, original, spoken) if name.isascii() != marked(original)]
    return itertools.chain(_shuffled(names, pick), coined(what, spoken, pick))


def marked(text: str) -> bool:
    """Tell whether a Latin letter of a text has a mark on it, or is an ``ß``."""
    return plain(text) != text and any("a" <= char <= "z" for char in plain(text).lower())


def plain(text: str) -> str:
    """Return a text without marks on its letters."""
    decomposed = unicodedata.normalize("NFD", text.replace("ß", "ss"))
    return "".join(char for char in decomposed if not unicodedata.combining(char))


def language_of(name: str) -> str:
    """Return the language, of four, that a name's letters suggest, or nothing."""
    small = name.lower()
    return next((code for code, looks in _LOOKS if looks.search(small)), "")


def gender_of(given: str) -> str:
    """Return the gender that a given name suggests, ``female`` or ``male``, or nothing."""
    small = given.casefold()
    if small in _COMMON_MALE:
        return "male"
    if small in _COMMON_FEMALE:
        return "female"
    if _FEMALE_FORM.search(small) and small not in _ANYBODYS_TOO:
        return "female"
    return "male" if _MALE_FORM.search(small) and small not in _ANYBODYS_TOO else ""


def _listed(what: str, original: str, language: str) -> Sequence[str]:
    if what == "given":
        gender = gender_of(original)
        if not gender:
            return _ANYBODYS
        lists = _FEMALE if gender == "female" else _MALE
        return lists.get(language, lists["en"])
    if what == "place":
        return _TOWNS.get(language, _TOWNS["en"])
    return _SURNAMES.get(language, _SURNAMES["en"]) if what in ("surname", "street") else ()


def _shuffled(names: Sequence[str], pick: Pick) -> Iterator[str]:
    left = list(names)
    while left:
        at = pick(len(left))
        left[at], left[-1] = left[-1], left[at]
        yield left.pop()
