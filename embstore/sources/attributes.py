"""List the 25 pleasant and 25 unpleasant attribute words of ValNorm, as in Wolfe & Caliskan (2022)."""

PLEASANT = (
    "caress", "freedom", "health", "love", "peace", "cheer", "friend", "heaven", "loyal", "pleasure", "diamond",
    "gentle", "honest", "lucky", "rainbow", "diploma", "gift", "honor", "miracle", "sunrise", "family", "happy",
    "laughter", "paradise", "vacation",
)  # fmt: skip
UNPLEASANT = (
    "abuse", "crash", "filth", "murder", "sickness", "accident", "death", "grief", "poison", "stink", "assault",
    "disaster", "hatred", "pollute", "tragedy", "divorce", "jail", "poverty", "ugly", "cancer", "kill",
    "rotten", "vomit", "agony", "prison",
)  # fmt: skip
