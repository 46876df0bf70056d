"""What an agent remembers, and what it takes from commands; the numbers in brackets are sections of docs/protocol.md."""
import hashlib
import json
import os
import re
import secrets
from pathlib import Path

INVALID, UNKNOWN, NOT_APPLIED = 1, 2, 4  # codes of results [9]


def stamp(text):
    return tuple(map(int, text.split("-")))  # compared as two numbers


def escape(name):
    return re.sub(rb"[^A-Za-z0-9_-]", lambda b: b"=%02x" % b[0][0], name.encode()).decode()


def config(group):
    return "config=" + escape(group)


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def write(path, text):
    """The file is the old or the new one, also after a crash."""
    new = path.with_name(f".{path.name}.new")
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    os.replace(new, path)
    directory = os.open(path.parent, os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)


def read(path, otherwise=None):
    return path.read_bytes().decode() if path.exists() else otherwise


class Change:
    """A state that is to be put in force as a whole or not at all [7]."""

    def __init__(self, groups, digests, taken, dropped, sync):
        self.groups, self.digests, self.taken, self.dropped, self.sync = groups, digests, taken, dropped, sync


class Ledger:
    def __init__(self, path: Path):
        self.path, self.sent = path, {}
        new = {"id": secrets.token_urlsafe(12), "epoch": 0, "floor": "0-0", "groups": [], "lanes": {}, "in_force": {},
               "edges": {}, "results": {}}
        vars(self).update(new | json.loads(read(path, "{}")))
        self.save()

    def save(self):
        rest = {name: value for name, value in vars(self).items() if name not in ("path", "sent")}
        try:
            write(self.path, json.dumps(rest))
        except OSError as why:
            os.write(2, f"the ledger cannot be written, so the agent does not go on: {why}\n".encode())
            os._exit(1)

    def state(self):
        """What hello and sync say of it [5]."""
        return {"ledger": self.id, "lanes": {lane: held["version"] for lane, held in self.lanes.items()},
                "digests": {config(group): of for group, of in self.in_force.items()}}

    def heard(self, hand_over):
        """What a hand-over says beside its commands [5]; true when the agent must sync at once."""
        self.confirmed(hand_over.get("confirmed", []))
        restored = hand_over.get("epoch", 0) > self.epoch
        if restored:
            self.epoch, self.lanes = hand_over["epoch"], {}
        self.floor = max(hand_over.get("floor", "0-0"), self.floor, key=stamp)
        self.save()  # the floor is on the disk before what is below it goes [8]
        self.edges = {task: edge for task, edge in self.edges.items()
                      if not edge["confirmed"] or stamp(edge["order"]) >= stamp(self.floor)}
        return restored

    # Results [9]
    def report(self):
        results = list(self.results.values())[:40]  # so many fit into 64 KiB
        self.sent |= {result["request_id"]: dict(result) for result in results}
        return {"ledger": self.id, "results": results}

    def receipt(self):
        return {"ledger": self.id}

    def confirmed(self, tasks):
        """A confirmation counts for a result that has not changed since it was sent."""
        for task in tasks:
            if task in self.sent and self.sent.pop(task) == self.results.get(task):
                del self.results[task]
                if task in self.edges:
                    self.edges[task]["confirmed"] = True
        self.save()
        return tasks

    def tell(self, lane, entry, failure):
        if stamp(entry["order"]) == (0, 0):
            return  # no task has set it
        done = {"code": 0} | ({"data": {"digest": entry["digest"]}} if "digest" in entry else {})
        self.results[entry["task"]] = {
            "request_id": entry["task"], "status": "failure" if failure else "success", "lane": lane,
            "version": entry["version"], "result": failure or done}

    # Edge commands [8]
    def edge(self, command):
        """Each is done as it comes, with a failure: this agent knows none."""
        task = command["request_id"]
        if task in self.edges or stamp(command["order"]) >= stamp(self.floor):
            self.edges[task] = {"order": command["order"], "confirmed": False}
            result = {"code": UNKNOWN, "message": "unknown command: " + command["action"]["name"]}
            self.results[task] = {"request_id": task, "status": "failure", "result": result}
            self.save()

    # Level commands [7]
    def level(self, command):
        """What to put in force, and whether the agent must sync."""
        name, args, sets = command["action"]["name"], command["action"].get("args") or {}, command["sets"]
        newer = {}
        for lane, entry in sets.items():
            held = self.lanes.get(lane)
            if held is None or stamp(entry["version"]) > stamp(held["version"]):
                newer[lane] = entry
            elif stamp(entry["version"]) == stamp(held["version"]):
                self.tell(lane, entry, held["failure"])
        can = {"set-group": ("groups", "config="), "set-config": ("config=",)}.get(name, ())
        strange = {lane: newer.pop(lane) for lane in list(newer) if not lane.startswith(can)}
        self.hold(strange, {"code": UNKNOWN, "message": f"unknown command, or not for this lane: {name}"})
        groups = args.get("groups") if "groups" in newer else self.groups
        contents = {lane: entry.get("digest", "") for lane, entry in newer.items() if lane != "groups"}
        if not isinstance(groups, list) or not all(re.fullmatch("[0-9a-f]{64}", of) for of in contents.values()):
            self.hold(newer, {"code": INVALID, "message": "the groups, or a digest, are missing"})
            return None, False
        mine = {config(group): group for group in groups}
        taken = {lane: entry for lane, entry in newer.items() if lane == "groups" or lane in mine}
        if not taken:
            return None, bool(newer) and name == "set-config"
        later, dropped = [], []
        if "groups" in taken:
            listed = stamp(sets["groups"]["version"])
            later = [lane for lane, held in self.lanes.items() if stamp(held["version"]) > listed]
            dropped = [lane for lane in self.lanes if lane != "groups"
                       and (lane not in mine or lane not in sets and lane not in later)]
        digests = {group: contents.get(lane) or self.in_force.get(group)
                   for lane, group in mine.items() if lane not in dropped}
        digests = {group: of for group, of in digests.items() if of}
        sync = any(lane in later and lane not in mine for lane in dropped)
        return Change(groups, digests, taken, dropped, sync), False

    def set(self, change, failure):
        """Versions, state and results become durable in one step."""
        for lane in change.dropped:
            del self.lanes[lane]
        self.groups = change.groups
        self.in_force = self.in_force if failure else change.digests
        self.hold(change.taken, failure)
        return change.sync

    def hold(self, taken, failure):
        for lane, entry in taken.items():
            self.lanes[lane] = {"version": entry["version"], "failure": failure}
            self.tell(lane, entry, failure)
        self.save()
