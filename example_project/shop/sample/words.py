"""Names, places, trades and sentences that every kind of book shares. Data only; `factories.py` draws from it."""

from __future__ import annotations


def _words(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split("|"))


GIVEN = _words(
    "Ada | Agnes | Aisha | Alba | Amara | Anders | Anouk | Arthur | Asta | Bashir | Beatriz | Birgit | Bram | Carys | Chidi"
    " | Clara | Cosmo | Dafydd | Delphine | Dmitri | Edith | Eluned | Emeka | Esther | Farah | Felix | Fiona | Gethin | Greta"
    " | Hana | Hugo | Ibrahim | Ines | Ingrid | Isolde | Jakob | Jorge | Judith | Kaito | Katya | Kofi | Leila | Linnea | Luca"
    " | Mabel | Magnus | Mairi | Malik | Marta | Mei | Milan | Nadia | Ngozi | Niamh | Noor | Olga | Orla | Oskar | Paloma"
    " | Pavel | Petra | Priya | Quentin | Rafael | Rhiannon | Rosa | Ruth | Sanjay | Saoirse | Selma | Siân | Soren | Tamsin"
    " | Tariq | Teodor | Thandi | Ulla | Vera | Viktor | Wanda | Winifred | Xavier | Yara | Yusuf | Zadie | Zoltan"
)
FAMILY = _words(
    "Abara | Achterberg | Adeyemi | Alder | Ashdown | Bancroft | Bergström | Birch | Blackwood | Bright | Calder | Castellano"
    " | Chaudhry | Coleman | Corvin | Dahl | Delacroix | Dunmore | Eklund | Ellery | Fairweather | Farrow | Fenwick | Finch"
    " | Garrick | Gallo | Greaves | Hallam | Haddad | Harrow | Hart | Hedlund | Hollis | Ibarra | Iwata | Jansen | Jessop | Kamau"
    " | Kestrel | Kimura | Kowalski | Lacey | Lindqvist | Llewellyn | Locke | Mackenzie | Marchetti | Marlowe | Mbeki | Moreau"
    " | Nakagawa | Navarro | Novak | Oakley | Okafor | Osei | Pardoe | Pemberton | Petrov | Pryce | Quill | Rahman | Ravenscroft"
    " | Rees | Rosenthal | Rowntree | Sadler | Santos | Sørensen | Stark | Sutherland | Tanaka | Thorne | Tremaine | Underhill"
    " | Vance | Vasquez | Verhoeven | Wainwright | Wexford | Whitlock | Winter | Yarrow | Yilmaz | Zeller"
)
PLACES = _words(
    "Whitby | Lisbon | Ghent | Trieste | Bergen | Aleppo | Cádiz | Leith | Tbilisi | Galway | Odesa | Kyoto | Valparaíso"
    " | Tangier | Uppsala | Ravenna | Cork | Samarkand | Porto | Lübeck | Hebden | Oaxaca | Zanzibar | Tromsø | Marseille"
    " | Kraków | Penzance | Ljubljana | Dundee | Salamanca | Orkney | Bath | Izmir | Havana | Riga | Antwerp | Naples | Hull"
    " | Montréal | Cardiff"
)
TRADES = _words(
    "Clockmaker | Cartographer | Beekeeper | Baker | Translator | Lighthouse Keeper | Bookbinder | Piano Tuner | Botanist"
    " | Glazier | Ferryman | Librarian | Weaver | Astronomer | Locksmith | Midwife | Printer | Surveyor | Violin Maker | Potter"
    " | Gardener | Archivist | Physician | Shipwright"
)
PLURALS = {"Fungus": "Fungi", "Goose": "Geese", "Volcano": "Volcanoes", "Lichen": "Lichens"}
PUBLISHER_ENDINGS = _words("Press | Books | & Daughters | Editions | House | University Press | & Sons | Publishing")
PUBLISHER_NAMES = _words(
    "Larkspur | Northlight | Harrier | Copper Kettle | Long Acre | Wren | Blue Door | Tidemark | Fieldfare | Old Quay | Salt Marsh"
    " | Paper Moon | Hawthorn | Halcyon | Signal Box | Thimble | Greenwich Row | Ember | Dovetail | Kingfisher | Slate | Marlin"
    " | Red Brick | Quince | Foxglove | Meridian | Lodestar | Pennant | Harbour Row | Sycamore | Ostler | Juniper"
)
CITIES = _words(
    "London | Edinburgh | Bristol | Manchester | Cardiff | Dublin | Oxford | Leeds | Glasgow | Norwich | York | Belfast"
)

MIDDLES = _words(
    "What follows is by turns funny, exact and quietly devastating."
    " | It is a book about patience, about money, and about who gets to tell the story."
    " | Along the way there are arguments, weather, and some very good meals."
    " | The chapters are short and the sentences are shorter; neither wastes a word."
    " | Nothing here is quite what it first appears to be."
    " | It asks an old question in a new voice."
    " | Rich in detail and generous in spirit, it repays a second reading."
    " | There is a map at the front, and you will need it."
    " | Half of it was written at night, and it shows in the best way."
    " | It moves between three decades without ever losing its thread."
    " | Each page carries its learning lightly."
    " | The result is a small, strange and complete world."
)
ENDINGS = _words(
    "You will close it and begin again."
    " | A book to lend, and to be sorry that you lent."
    " | Shortlisted for the Harbour Prize."
    " | This edition has a new afterword by the author."
    " | Translated into eleven languages."
    " | Winner of the Silver Quill for a first book."
    " | A companion to the author’s earlier work, and a fine place to start."
    " | With an index, a bibliography and an apology."
    " | Our booksellers’ choice for a long weekend."
    " | Signed copies while they last."
)
BIOGRAPHIES = _words(
    "{name} was born in {place} and worked as a {trade} before the first book."
    " | {name} writes in the mornings and keeps bees in the afternoons."
    " | {name} studied in {place}, taught in three countries, and now writes full time."
    " | The books of {name} have been translated into eleven languages."
)
BIOGRAPHY_ENDINGS = _words(
    "Home is a narrow house in {place} with too many stairs."
    " | A new book is finished, and is being rewritten."
    " | The author lives near {place} with a family and a bad-tempered cat."
    " | Readers may write; answers are slow."
)

# Headings and sentences of reviews, from one star to five.
REVIEW_TITLES = {
    1: _words("Not for me | Gave up | Disappointing | I wanted to like it"),
    2: _words("Uneven | A slow start, and a slow end | Good idea, less good book | Needs an editor"),
    3: _words("Worth a look | Fine | Half of it is great | Pleasant company"),
    4: _words("Very good | Warmly recommended | Better than expected | A lovely thing | Kept me up late"),
    5: _words("A joy | Read it twice | The best I read this year | Remarkable | I bought three more to give away"),
}
REVIEW_TEXTS = {
    1: _words(
        "I put it down at page forty and have not missed it."
        " | The blurb promises another book than the one inside."
        " | Too many coincidences, and none of them matter."
    ),
    2: _words(
        "There is a good essay in here, wrapped in two hundred pages of padding."
        " | The middle third lost me completely."
        " | Well made as an object; the text did not hold me."
    ),
    3: _words(
        "Some chapters are wonderful, others read like notes."
        " | I enjoyed it while it lasted, and remember little of it."
        " | A decent companion for a long train journey."
        " | The first half promises more than the second can keep."
        " | I liked the author’s other books better, but this one has its moments."
    ),
    4: _words(
        "The voice is so assured that I would follow it anywhere."
        " | A little long, but the last fifty pages are superb."
        " | I learned more than I expected, and laughed twice."
        " | Exactly the book for a wet weekend and a large pot of tea."
        " | It could lose a chapter, but I would not know which."
        " | Warm, clever and a little odd, like a good neighbour."
        " | The kind of book that makes you miss your stop."
    ),
    5: _words(
        "I finished it at two in the morning and turned back to the first page."
        " | Every sentence earns its place. I have been pressing it on friends ever since."
        " | Funny, humane and beautifully put together."
        " | I read the last chapter slowly, so that it would not be over."
        " | I have underlined half of it and lent it to nobody."
        " | Few books keep every promise of their first page. This one does."
        " | It sent me out of the house to look at the world again."
        " | My copy has fallen apart; I am here to buy the next."
    ),
}
REVIEW_ENDINGS = _words(
    "The paper and the printing are lovely too."
    " | My reading group argued about it for two hours."
    " | It arrived quickly and well packed."
    " | I shall look for the author’s other books."
    " | My mother took it away before I had finished."
    " | The ending divides opinion; I was for it."
    " | It would make a good present."
    " | I read it by the sea, which helped."
)
