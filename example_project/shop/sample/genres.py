"""What each kind of book is made of: its words, its titles, its prices. Data only; `factories.py` draws from it.

In a title or a sentence, {noun}, {nouns}, {other}, {others}, {adjective}, {place}, {name} and {trade} stand for words of
the kind, and those that end in _l for the same in small letters.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Genre:
    slug: str
    name: str
    blurb: str
    titles: tuple[str, ...]
    nouns: tuple[str, ...]
    adjectives: tuple[str, ...]
    subtitles: tuple[str, ...]
    openings: tuple[str, ...]
    pages: tuple[int, int]
    price: tuple[int, int]
    """Lowest and highest price of a paperback, in whole pounds."""


def _genre(
    slug: str,
    name: str,
    blurb: str,
    *,
    titles: str,
    nouns: str,
    adjectives: str,
    subtitles: str = "",
    openings: str,
    pages: tuple[int, int] = (180, 480),
    price: tuple[int, int] = (7, 14),
) -> Genre:
    def split(text: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in text.split("|") if part.strip())

    words = split(nouns), split(adjectives)
    return Genre(slug, name, blurb, split(titles), *words, split(subtitles), split(openings), pages, price)


GENRES = (
    _genre(
        "novels",
        "Novels",
        "Families, cities, weather and the long way home.",
        titles="The {adjective} {noun} | {noun} in {place} | The {trade} of {place} | A {noun} for {name} | {name} and the {noun}"
        " | What the {noun} Kept | The {trade}’s {noun} | All the {adjective} {nouns} | Beyond the {noun} | A {adjective} {noun}",
        nouns="Orchard | Harbour | Letter | Window | Staircase | Summer | Winter | Garden | Inheritance | Ferry | Tide | Lantern"
        " | Piano | House | River | Silence | Daughter | Season | Bridge | Photograph | Kitchen | Field | Homecoming | Wedding",
        adjectives="Last | Quiet | Second | Borrowed | Unfinished | Paper | Salt | Northern | Hidden | Patient | Golden | Bright"
        " | Ordinary | Distant | Broken | Tender | Early | Seventh",
        openings="When {name} returns to {place} to sell her mother’s house, she finds a {noun_l} that nobody will talk about."
        " | For thirty years a {trade_l} in {place} has kept a promise made to a stranger."
        " | One summer, two sisters, and a {noun_l} that divides a family for three generations."
        " | {name} has never left {place}, until a letter arrives addressed to somebody else."
        " | On the night of the great storm a {trade_l} opens the door to a man who claims to be his brother.",
    ),
    _genre(
        "crime",
        "Crime",
        "Bodies, secrets, and detectives who ought to sleep more.",
        titles="Death in {place} | The {place} {noun} | A {adjective} {noun} | Murder at the {noun} | The {trade}’s {noun}"
        " | {name} Must Die | The {adjective} {noun} | Cold {noun} | The {noun} Killings | No {noun} for {name}",
        nouns="Witness | Alibi | Verdict | Shadow | Confession | Ledger | Harbour | Cellar | Drowning | Silence | Inquest | Vicarage"
        " | Lighthouse | Express | Orchard | Inheritance | Poison | Knife | Window | Tunnel | Marsh | Archive",
        adjectives="Perfect | Silent | Crooked | Second | Buried | Patient | False | Missing | Dark | Reluctant | Hollow | Final"
        " | Careful | Polite | Bitter | Frozen",
        subtitles="An Inspector {name} mystery | A {place} investigation | The case of the {adjective_l} {noun_l}",
        openings="A {trade_l} is found dead in {place}, and the only witness is a child who will not speak."
        " | Inspector {name} has two weeks to retirement and one file that will not close."
        " | Everybody in {place} saw the {noun_l}. Nobody saw who left it there."
        " | Twenty years after the {noun_l}, a letter reaches the police in {place}: you have the wrong man."
        " | The body in the harbour wears another man’s coat, and the coat holds a list of names.",
        price=(7, 12),
    ),
    _genre(
        "science-fiction",
        "Science fiction",
        "Other worlds, near futures, and engines that dream.",
        titles="The {adjective} {noun} | {noun} of {place} Station | A {noun} Beyond {place} | The Last {trade} | {adjective} {nouns}"
        " | The {noun} Protocol | Children of the {noun} | {name}’s {noun} | The {noun} Paradox | Ten Thousand {nouns}",
        nouns="Orbit | Signal | Engine | Archive | Horizon | Colony | Comet | Machine | Ark | Eclipse | Drift | Gravity | Mirror"
        " | Lattice | Beacon | Tide | Garden | Swarm | Voyage | Threshold | Ember | Silence",
        adjectives="Quiet | Infinite | Orbital | Hollow | Glass | Borrowed | Slow | Electric | Fractured | Distant | Recursive"
        " | Sunless | Iron | Patient | Unwritten | Luminous",
        subtitles="Book one of the {noun} cycle | Book two of the {noun} cycle | A novel of the {adjective_l} worlds",
        openings="Four hundred years from home, the ship’s {trade_l} wakes to a {noun_l} that should not exist."
        " | The colony at {place} Station has lived by one rule: never answer the {noun_l}."
        " | {name} repairs machines that remember. This one remembers her."
        " | When the last {noun_l} goes dark, a {trade_l} and a mind without a body must cross the drift together."
        " | The war ended before she was born. The {noun_l} never got the message.",
        pages=(240, 720),
        price=(8, 15),
    ),
    _genre(
        "history",
        "History",
        "What happened, who paid, and who wrote it down.",
        titles="{place}: A History | A Short History of {noun} | The {trade}s of {place} | {noun} and {other} | The {adjective} Century"
        " | The Age of {noun} | How {noun} Made the World | The Road to {place} | {noun}: A Biography | Before the {noun}",
        nouns="Salt | Iron | Paper | Empire | Wool | Plague | Silver | Glass | Grain | Tea | Revolution | Railways | Winter | Coffee"
        " | Cartography | Sugar | Parchment | Cathedrals | Canals | Clocks | Timber | Amber",
        adjectives="Long | Restless | Forgotten | Iron | Golden | Broken | Narrow | Gilded | Hungry | Drowned",
        subtitles="Trade, power and the making of {place} | {noun} and society, 1350 to 1900 | A people’s history"
        " | From the {adjective_l} century to our own | The {trade_l}s who changed a continent",
        openings="In the spring of 1347 a {trade_l} from {place} wrote down what everybody else tried to forget."
        " | Before there were nations there was {noun_l}, and whoever held it held the rest."
        " | This is the story of {place} told from its kitchens, workshops and back streets."
        " | Drawing on letters found in a {place} attic, this book turns a familiar tale on its head."
        " | Few things look as humble as {noun_l}; few have moved so many ships, armies and fortunes.",
        pages=(260, 820),
        price=(10, 22),
    ),
    _genre(
        "nature",
        "Nature & science",
        "Birds, stars, mud, and how we know.",
        titles="The {adjective} {noun} | {noun}: A Natural History | Listening to {nouns} | The Secret Life of {nouns} | Where {nouns} Go"
        " | A Field Guide to {nouns} | The {noun} and the {other} | Notes from a {adjective} Shore | Why {nouns} Matter | {nouns} of {place}",
        nouns="Moth | Heron | Lichen | Glacier | River | Meteor | Otter | Fungus | Tide | Bat | Comet | Beetle | Owl | Eel | Forest"
        " | Volcano | Whale | Fern | Neutrino | Swift | Newt | Orchid",
        adjectives="Hidden | Restless | Slow | Wild | Patient | Luminous | Tangled | Northern | Deep | Sleeping | Curious | Winter",
        subtitles="A year of watching | The new science of an old wonder | Field notes from {place} | And what it tells us of ourselves",
        openings="Every night, a few metres above {place}, a {noun_l} does something that physics says it cannot."
        " | {name} set out to count {nouns_l} and ended up counting what was gone."
        " | Look closely at a {noun_l} and the whole history of the planet looks back."
        " | For a year the author walked the same mile near {place}, and never saw the same thing twice."
        " | What a {noun_l} knows about the weather could fill a book. This is that book.",
        pages=(180, 440),
        price=(10, 20),
    ),
    _genre(
        "cookery",
        "Cookery",
        "Bread, spice, slow Sundays and quick Tuesdays.",
        titles="{noun} | The {adjective} Kitchen | {noun} & {other} | A Year of {noun} | {place} Table | The {trade}’s Cookbook"
        " | {adjective} {noun} | The Book of {noun} | {noun} Every Day | Sunday {noun}",
        nouns="Bread | Butter | Olives | Saffron | Soup | Pastry | Pickles | Citrus | Noodles | Honey | Lentils | Smoke | Dumplings"
        " | Tomatoes | Rice | Herbs | Beans | Plums | Cheese | Onions | Ginger | Rye",
        adjectives="Slow | Green | Little | Generous | Simple | Salted | Summer | Winter | Midnight | Weeknight | Rustic | Sunny",
        subtitles="Ninety recipes from {place} | Cooking with what there is | Recipes for a small kitchen | Feasts for friends"
        " | The food of {place} and beyond",
        openings="Ninety recipes that begin with an onion and end with everybody asking for more."
        " | {name} grew up above a bakery in {place}; this is the book her grandmother never wrote."
        " | One pot, one board, one good knife: a {adjective_l} way to cook all year."
        " | From {place} come the recipes that travellers remember and guidebooks miss."
        " | A whole book about {noun_l}? Cook three pages of it, and you will want a second volume.",
        pages=(160, 360),
        price=(14, 28),
    ),
    _genre(
        "travel",
        "Travel",
        "Slow trains, cold seas and the wrong bus.",
        titles="Slowly to {place} | A {noun} in {place} | The {adjective} Road | {place} by {noun} | The {noun} to {place} | Letters from {place}"
        " | Walking to {place} | The {adjective} {noun} | Nine Days in {place} | South of {place}",
        nouns="Train | Ferry | Bicycle | Winter | Border | Map | Pass | Island | Pilgrim | Harbour | Mule | Canoe | Compass | Coast"
        " | Monsoon | Suitcase | Passport | Tent",
        adjectives="Slow | Crooked | Salt | Empty | Northern | Long | Other | White | Dusty | Accidental | Windward",
        subtitles="A journey on foot | Across {place} without a plan | Two thousand miles and one {noun_l} | In search of a {adjective_l} country",
        openings="It began with the wrong ticket, and ended eleven months later in {place}."
        " | {name} had a {noun_l}, very little money, and a promise to reach {place} before the snow."
        " | There are faster ways to {place}. None of them goes past the {trade_l} who sings."
        " | Nobody walks to {place} any more, which seemed a good reason to try."
        " | A portrait of {place} from its night buses, its markets and its patient {trade_l}s.",
        pages=(180, 420),
        price=(9, 17),
    ),
    _genre(
        "biography",
        "Biography",
        "Lives in full, and the parts they left out.",
        titles="{name}: A Life | The {adjective} {trade} | My {adjective} Years | The {trade} of {place} | {name} of {place}"
        " | A {trade}’s {noun} | The {noun} of {name} | Born in {place} | {name}’s {noun} | Becoming a {trade}",
        nouns="Apprenticeship | Notebook | Voyage | Childhood | Letters | Exile | Diary | Portrait | Education | Testament | Gift | Trial",
        adjectives="Reluctant | Restless | Unlikely | Secret | Stubborn | Forgotten | Second | Early | Wandering | Remarkable",
        subtitles="A life in letters | The authorised biography | A memoir | The woman who mapped {place} | From {place} to the world",
        openings="Born above a shop in {place}, {name} would be called a genius, a fraud, and, once, a {trade_l}."
        " | Everything that was known about {name} came from one unreliable {trade_l}. Until now."
        " | In this memoir a {trade_l} from {place} tells what the speeches left out."
        " | Nine hundred letters, most of them unsent: the life of {name} as nobody has read it."
        " | {name} burned the diaries. The {trade_l} next door had copied them.",
        pages=(220, 640),
        price=(10, 24),
    ),
    _genre(
        "computing",
        "Computing",
        "Machines, and the people who argue with them.",
        titles="{adjective} {nouns} | The {noun} Handbook | Understanding {nouns} | {nouns} and {others} | The {adjective} {noun} | A Theory of {nouns}"
        " | {nouns} in Practice | Thinking in {nouns} | Small {nouns} | The Art of the {noun}",
        nouns="Compiler | Thread | Queue | Database | Protocol | Kernel | Parser | Cache | Type | Index | Network | Scheduler | Pool"
        " | Socket | Transaction | Histogram | Test | Lock | Interface | Query",
        adjectives="Quiet | Robust | Concurrent | Elegant | Practical | Distributed | Persistent | Honest | Minimal | Reliable | Lazy | Pure",
        subtitles="With exercises | For working programmers | Twelve lessons from production | A gentle introduction"
        " | How to measure before you guess",
        openings="Most {nouns_l} work. This book is about the others, and the nights they cost."
        " | Start with one {noun_l}, written in an afternoon; end with a system that explains itself."
        " | {name} has taught {nouns_l} to beginners for twenty years, and left in all the questions they asked."
        " | What happens between pressing a key and seeing a letter? A tour with a {adjective_l} guide."
        " | Every chapter takes one failure from production and follows it down to the {noun_l}.",
        pages=(160, 620),
        price=(18, 38),
    ),
    _genre(
        "poetry",
        "Poetry",
        "Small books that take a long time.",
        titles="{nouns} | {adjective} {noun} | Songs for {place} | The {noun} and Other Poems | {noun}, {other} | After the {noun}"
        " | Instructions for a {noun} | {place} Sonnets | The {adjective} Hours | Elegy with {noun}",
        nouns="Swallow | Bell | Ember | Tide | Window | Frost | Hymn | Thistle | Moth | Stone | Rain | Pear | Shadow | Thread | Wren"
        " | Lamp | Furrow | Mirror | Bone | Feather",
        adjectives="Unlit | Blue | Small | Thin | Evening | Borrowed | Wild | Bare | Slow | Winter | Late | Clear",
        subtitles="Collected poems | New and selected poems | Poems 1998 to 2024",
        openings="Forty poems on a {noun_l}, a kitchen table and the sea at {place}."
        " | {name} writes the {adjective_l} line better than anybody living."
        " | A first collection from {place}: plain words, exact weather, sudden light."
        " | These are poems to read standing up, by a window, twice."
        " | A sequence in eleven parts about a {trade_l}, a {noun_l} and what was left unsaid.",
        pages=(48, 160),
        price=(7, 13),
    ),
    _genre(
        "children",
        "Children",
        "To be read aloud, again, and then again.",
        titles="{name} and the {noun} | The {adjective} {noun} | The {noun} Who Lost Its {other} | Goodnight, {noun} | Ten {adjective} {nouns}"
        " | Where Is the {noun}? | {name}’s {adjective} {noun} | The {noun} of {place} | A {noun} in the Bath | Captain {name}",
        nouns="Fox | Bear | Dragon | Owl | Hedgehog | Moon | Lighthouse | Whale | Robot | Badger | Umbrella | Pirate | Balloon | Snail"
        " | Tiger | Goose | Mitten | Comet | Giant | Teapot",
        adjectives="Sleepy | Very Small | Enormous | Grumpy | Purple | Brave | Invisible | Upside-Down | Hungry | Forgetful | Singing | Polite",
        subtitles="A story with pictures | A bedtime book | An adventure in nine chapters",
        openings="{name} is the smallest in her class. Her {noun_l} is the biggest in {place}."
        " | What do you do with a {adjective_l} {noun_l}? You could start by asking its name."
        " | Every night at seven the {noun_l} of {place} goes missing. Tonight {name} will follow it."
        " | A {noun_l}, a {trade_l} and one very long piece of string."
        " | It was raining in {place}, and the {noun_l} had lost its umbrella.",
        pages=(24, 160),
        price=(6, 11),
    ),
    _genre(
        "art",
        "Art & design",
        "Looking, making, and looking again.",
        titles="{noun} and {other} | The {adjective} {noun} | A History of {noun} | {noun} in {place} | How to See {noun} | Drawing {noun}"
        " | The {trade}’s Eye | {adjective} Forms | The Meaning of {noun} | {place} Modern",
        nouns="Colour | Line | Shadow | Ornament | Type | Paper | Clay | Light | Pattern | Perspective | Blue | Ink | Silk | Concrete"
        " | Print | Glass | Thread | Gold | Gesture | Wood",
        adjectives="Quiet | Folded | Bright | Modern | Handmade | Empty | Radical | Woven | Plain | Painted | Useful | Floating",
        subtitles="With 120 plates | Notes from the studio | The workshop of {place} | An essay on seeing",
        openings="Why is there so little {noun_l} in old paintings, and so much of it in ours?"
        " | In a workshop in {place}, a {trade_l} has made the same bowl every day for forty years."
        " | {name} teaches people to look. This book takes one hour and changes the rest."
        " | From cave walls to shop signs: a {adjective_l} history of {noun_l}, with 120 plates."
        " | A manual, a manifesto and a love letter to {noun_l}.",
        pages=(96, 340),
        price=(16, 38),
    ),
    _genre(
        "philosophy",
        "Ideas",
        "Big questions, short chapters.",
        titles="On {noun} | The {adjective} {noun} | {noun} and {other} | Against {noun} | The Uses of {noun} | A Theory of {noun}"
        " | In Praise of {noun} | Why {noun}? | The Problem of {noun} | Living with {noun}",
        nouns="Attention | Boredom | Time | Doubt | Kindness | Work | Silence | Luck | Memory | Friendship | Truth | Solitude | Wonder"
        " | Justice | Habit | Forgiveness | Play | Courage | Money | Hope",
        adjectives="Examined | Slow | Good | Common | Unquiet | Modest | Stoic | Curious | Useful | Open | Hidden | Reasonable",
        subtitles="An essay | Seven arguments | Philosophy for busy people | What the ancients knew | And other questions",
        openings="What do we owe to strangers, to the dead, and to the person we meant to be?"
        " | {noun} is what everybody wants and nobody can define. {name} has a modest proposal."
        " | A {trade_l} in {place} once asked a question that took two thousand years to answer badly."
        " | Seven short arguments, each of which spoils the one before."
        " | Begin anywhere: every chapter of this book doubts the others.",
        pages=(110, 320),
        price=(8, 18),
    ),
    _genre(
        "gardening",
        "Gardening",
        "Soil under the nails, and a bench at the end.",
        titles="The {adjective} Garden | {noun} | A Garden in {place} | Growing {noun} | The {trade}’s Garden | {noun} & {other} | {noun} for Small Spaces"
        " | The {adjective} Border | Twelve Months of {noun} | The {noun} Year",
        nouns="Roses | Compost | Apples | Ferns | Bulbs | Herbs | Peas | Shade | Gravel | Meadows | Tulips | Seeds | Hedges | Moss"
        " | Figs | Dahlias | Beans | Grasses | Rain | Pots",
        adjectives="Wild | Small | Edible | Dry | Winter | Walled | Lazy | Forgiving | Night | Shady | Coastal | Rooftop",
        subtitles="A month-by-month guide | For people with no time | Lessons from {place} | With plans and planting lists",
        openings="A balcony, a bucket and a packet of seeds: you have everything you need."
        " | {name} took over three acres of brambles near {place}, and made every mistake once."
        " | A calm, month-by-month companion to {noun_l}, from the first frost to the last."
        " | Most gardening books tell you what to do. This one tells you what may be left undone."
        " | The old gardener of {place} had one rule about {noun_l}, and it is on page nine.",
        pages=(120, 320),
        price=(12, 26),
    ),
)
