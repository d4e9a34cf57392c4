"""The words too common to be drawn, by language, and which language a text is in."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_ENGLISH = """
a about above across after again against ago all almost alone along already also although always am among an and another
any anyone anything are aren around as at away back be became because become been before behind being below beside best
better between beyond both but by ca came can cannot come comes could couldn dare did didn do does doesn doing don done
down during each either else enough even ever every everyone everything far few first for from gave get gets getting
give given gives go goes going gone got had hadn has hasn have haven having he hence her here hers herself him himself
his how however i if in indeed instead into is isn it its itself just keep keeps kept knew know known knows last least
less let lets like likely little ll long look looked looking looks made make makes making many may maybe me mean means
might mine more most mostly much must my myself near nearly need needs neither never next no nobody none nor not nothing
now nowhere of off often oh on once one ones only onto or other others otherwise ought our ours ourselves out over own
perhaps put puts quite rather re really s said same saw say says see seem seemed seems seen several shall she should
shouldn since so some somebody someone something sometimes somewhat somewhere soon still such sure t take taken takes
than that the their theirs them themselves then there therefore these they thing things this those though three through
thus till to together too took toward towards two under until up upon us use used uses using usually ve very want wants
was wasn way we well went were weren what whatever when whenever where wherever whether which while who whoever whole
whom whose why will with within without wo won would wouldn yes yet you your yours yourself yourselves
"""
_GERMAN = """
aber alle allem allen aller alles als also am an andere anderen anderer anderes auch auf aus bei beim bin bis bist da
dabei dafür damit dann daran darauf darin das dass davon dazu dein deine dem den denn der deren des dessen dich die dies
diese diesem diesen dieser dieses doch dort du durch ein eine einem einen einer eines einmal er es etwas euch euer für
gegen gibt habe haben hat hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im immer in ins ist
ja jede jedem jeden jeder jedes jener jetzt kann kein keine keinem keinen keiner kommen kommt können machen macht man
manche mancher mehr mein meine mich mir mit muss müssen nach nicht nichts noch nun nur ob oder ohne schon sehr sei sein
seine seinem seinen seiner selbst sich sie sieht sind so sobald soll sollte sonst stehen steht um und uns unser unsere
unter viel viele vom von vor war waren was weil weiter welche wenn wer werden wie wieder will wir wird wo wurde wurden
während zu zum zur zwar zwischen über
"""
_FRENCH = """
afin ai ainsi alors as au aucun aussi autre autres aux avait avant avec avez avoir avons c car ce ceci cela celle celui
ces cet cette ceux chaque chez comme comment d dans de depuis des deux donc dont du elle elles en encore entre es est et
eux faire fait faut il ils j je jusqu l la le les leur leurs lui là m ma mais me mes moi moins mon même n ne ni non nos
notre nous on ont ou où par parce pas peu peut plus pour pourquoi presque puis qu quand que quel quelle qui quoi rien s
sa sans se sera ses si son sont sous sur t ta te tes toi ton toujours tous tout toute toutes trop très tu un une va vers
vos votre vous y à ça était été être
"""
_SPANISH = """
a al algo algunos ante antes aquel aquella aquí así aunque bien cada casi como con cual cuando cómo de del desde donde
dos durante e el ella ellas ellos en entre era eran es esa ese eso esta estaba estado estas este esto estos está están
fue fueron ha había han hasta hay la las le les lo los me mi mientras mis muy más nada ni no nos nosotros nuestra
nuestro o otra otras otro otros para pero poco por porque pues que quien qué se sea ser si siempre sin sobre son su sus
sí también tan tanto te tiene tienen todo todos tu un una uno unos ya yo él
"""

STOP_WORDS: Mapping[str, frozenset[str]] = {
    "en": frozenset(_ENGLISH.split()),
    "de": frozenset(_GERMAN.split()),
    "fr": frozenset(_FRENCH.split()),
    "es": frozenset(_SPANISH.split()),
}


def stop_words(counts: Mapping[str, int]) -> tuple[str, frozenset[str]]:
    """The language of a text and its stop words, from its words in lower case.

    The language is the one whose stop words cover most of the text, "" when none covers a tenth. The stop words of a
    second language are added when the text has several that are that language's own, and often: it is in both.
    """
    total = sum(counts.values())
    hits = {language: sum(counts.get(word, 0) for word in words) for language, words in STOP_WORDS.items()}
    best = max(hits, key=hits.__getitem__)
    if not total or hits[best] * 10 < total:
        return "", frozenset()
    stop = STOP_WORDS[best]
    for words in STOP_WORDS.values():
        own = [counts[word] for word in words - STOP_WORDS[best] if word in counts]
        # Several, because a single one may be what the text is about: "sea" is Spanish, "die" German.
        if len(own) >= 8 and sum(own) * 50 >= total:
            stop |= words
    return best, stop
