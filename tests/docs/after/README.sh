# The numbers of the finding.
[ "$(grep -o "<dc:description>.*" finding.svg)" = "$(grep -o "<dc:description>.*" "$DOCS/finding.svg")" ]
embstore query knn --label pos --space minilm.word.last --versus minilm-untrained-0.word.last --quiet -o versus.json
embstore query knn --label pos --space minilm.word.last --versus best --quiet -o best.json
embstore query knn --label pos --versus best --quiet -o both.json
python - <<'END'
import json


def rows(name):
    with open(name) as file:
        return json.load(file)


versus = rows("versus.json")
accuracy = [round(row["accuracy"], 2) for row in versus]
trained, untrained = accuracy[:7], accuracy[7:]
assert (max(trained), min(trained)) == (0.99, 0.94), trained
assert (max(untrained), min(untrained)) == (0.32, 0.27), untrained
assert all(row["p_holm"] < 1e-9 for row in versus[:7])
for name, last in ("best.json", 0.025), ("both.json", 0.052):
    p = [row["p_holm"] for row in rows(name) if row["space"] == "minilm.word.last"]
    assert all(x is None or x > 0.5 for x in p[:6]), p
    assert round(p[6], 3) == last, p
others = [row["p_holm"] for row in rows("both.json") if row["space"] != "minilm.word.last"]
assert len(others) == 7
assert all(x is None or x > 0.5 for x in others), others
END
