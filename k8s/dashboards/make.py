"""Makes onefive.json, the Grafana dashboard, out of panels.toml: `python3 k8s/dashboards/make.py` writes it, `--check` says whether
it is up to date. Python's own library is enough.
"""

import json
import pathlib
import re
import sys
import tomllib

HERE = pathlib.Path(__file__).resolve().parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24
LAST = {"calcs": ["lastNotNull"], "fields": "", "values": False}
KINDS = {
    "numbers": ("stat", {"reduceOptions": LAST, "colorMode": "value", "graphMode": "none", "textMode": "auto"}),
    "bars": ("bargauge", {"reduceOptions": LAST, "orientation": "horizontal", "displayMode": "basic", "showUnfilled": True}),
    "lines": (
        "timeseries",
        {"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True}, "tooltip": {"mode": "multi", "sort": "desc"}},
    ),
}


def written_out(query, words):
    """The query with its words in full."""
    return re.sub(r"@(\w+)", lambda word: words[word[1]], query)


def defaults(panel):
    """How Grafana shows the values."""
    given = {"unit": panel["unit"]}
    if "empty" in panel:
        given["noValue"] = panel["empty"]
    if "decimals" in panel:
        given["decimals"] = panel["decimals"]
    if panel["unit"] == "percentunit":
        given |= {"min": 0, "max": 1}
    elif panel["is"] == "bars":
        given["min"] = 0
    if "alarm" in panel:
        steps = [{"color": "green", "value": None}, {"color": panel["alarm"], "value": 1}]
        given["thresholds"] = {"mode": "absolute", "steps": steps}
    return given


def places(panels):
    """Where each panel stands: beside the one before it if there is room, otherwise below the highest of its line."""
    x = y = height = 0
    for panel in panels:
        width, tall = (WIDTH, 1) if "row" in panel else panel["size"]
        if x + width > WIDTH:
            x, y, height = 0, y + height, 0
        yield {"h": tall, "w": width, "x": x, "y": y}
        x, height = x + width, max(height, tall)


def target(number, query, legend, over_time):
    return {
        "refId": chr(ord("A") + number),
        "datasource": SOURCE,
        "expr": query,
        "legendFormat": legend,
        "editorMode": "code",
        "range": over_time,
        "instant": not over_time,
    }


def made(panel, place, words):
    """One panel as Grafana wants it."""
    if "row" in panel:
        return {"id": panel["id"], "type": "row", "title": panel["row"], "collapsed": False, "panels": [], "gridPos": place}
    kind, options = KINDS[panel["is"]]
    asks = [(written_out(query, words), legend) for query, legend in panel["asks"]]
    return {
        "id": panel["id"],
        "type": kind,
        "title": panel["title"],
        "description": panel.get("about", ""),
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": defaults(panel), "overrides": []},
        "options": options,
        "targets": [target(number, query, legend, panel["is"] == "lines") for number, (query, legend) in enumerate(asks)],
    }


def dashboard():
    """The whole dashboard, as text."""
    given = tomllib.loads((HERE / "panels.toml").read_text(encoding="utf-8"))
    desks = "label_values(onefive_requests_total, desk)"
    variables = [
        {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "current": {}, "hide": 0, "refresh": 1},
        {
            "name": "desk",
            "label": "Desk",
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": desks, "refId": "desk"},
            "definition": desks,
            "includeAll": True,
            "multi": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
            "refresh": 2,
            "sort": 1,
            "hide": 0,
        },
    ]
    whole = {
        "uid": "onefive",
        "title": "onefive",
        "description": "Ratings from 1 to 5, in the channel the conversation took place in.",
        "tags": ["onefive"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "timezone": "browser",
        "annotations": {"list": []},
        "links": [],
        "templating": {"list": variables},
        "panels": [made(panel, place, given["words"]) for panel, place in zip(given["panel"], places(given["panel"]))],
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE = HERE / "onefive.json"
    if "--check" in sys.argv:
        sys.exit(FILE.read_text(encoding="utf-8") != dashboard() and "onefive.json is not what panels.toml makes: run k8s/dashboards/make.py")
    FILE.write_text(dashboard(), encoding="utf-8")
