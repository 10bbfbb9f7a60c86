"""Figures of two sides measured in turns, and what of them is printed and kept.

A round takes some samples of ours and of the peer, one after the other, so that whatever the host
does meanwhile hits both. The figure of a round is the median of its samples, its ratio the one of
ours through the other. What counts is the median of all rounds' ratios; their quartiles are the
spread.
"""
import statistics

UNITS = {"ns": 1, "us": 1e3, "ms": 1e6}


def quantile(values, share):
    """The value below which this share of them lies; of few values the nearest one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def summary(values, unit):
    """Median, quartiles and, where there are enough to speak of one, the 99th percentile."""
    divisor = UNITS.get(unit, 1)
    figures = {"median": statistics.median(values), "q1": quantile(values, .25),
               "q3": quantile(values, .75), "samples": len(values)}
    if len(values) >= 100:
        figures["p99"] = quantile(values, .99)
    return {key: value if key == "samples" else round(value / divisor, 3)
            for key, value in figures.items()}


class Bench:
    """One line of the table. Samples in ns where the unit is a time."""

    def __init__(self, name, unit, what, peer):
        self.name, self.unit, self.what, self.peer = name, unit, what, peer
        self.ours, self.peers, self.ratios = [], [], []

    def add_round(self, ours, peers):
        """The samples of one round."""
        self.ours += ours
        self.peers += peers
        self.ratios.append(statistics.median(ours) / statistics.median(peers))

    def as_json(self):
        ratio = summary(self.ratios, "ratio")
        ratio["rounds"] = ratio.pop("samples")
        ratio.pop("p99", None)
        return {"name": self.name, "unit": self.unit, "what": self.what, "peer_is": self.peer,
                "ours": summary(self.ours, self.unit), "peer": summary(self.peers, self.unit),
                "ratio": ratio}


COLUMNS = "{:24}{:>6}{:>10}{:>10}{:>10}{:>10}{:>9}  {}"
TITLES = COLUMNS.format("", "", "ours", "p99", "peer", "p99", "ratio", "spread")


def shown(value):
    """A number for the table: three digits that say something."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def table_line(bench):
    """A line of the table, from as_json()."""
    ours, peer, ratio = bench["ours"], bench["peer"], bench["ratio"]
    return COLUMNS.format(bench["name"], bench["unit"],
                          shown(ours["median"]), shown(ours.get("p99")),
                          shown(peer["median"]), shown(peer.get("p99")),
                          shown(ratio["median"]),
                          f"{shown(ratio['q1'])} to {shown(ratio['q3'])}")
