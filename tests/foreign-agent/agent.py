#!/usr/bin/env python3
"""A small agent of Muster, written from docs/protocol.md alone; the numbers in brackets are its sections.

It enrols, keeps the configurations of its groups as files, and reports. It has no modules and knows no edge command. In its
root are seed, agent.json, ledger.json, content/<digest> and groups/<escaped group>.yml.
"""
import argparse
import asyncio
import json
import os
import platform
import random
import signal
import sys
import time
from pathlib import Path

import nats
import nkeys

from ledger import NOT_APPLIED, Ledger, digest, escape, read, write

ABOUT = {"version": "0.1.0", "os": platform.system().lower()}
LOST = (nats.errors.Error, OSError, asyncio.TimeoutError)
FINAL = {"bad-name", "name-taken", "bad-key", "agent-deleted"}  # they end an enrolment [3]


class Refused(Exception):
    def __init__(self, errors):
        self.code = errors[0]["code"]
        super().__init__("; ".join(f"{e['message']} ({e['code']})" for e in errors))


def log(*words):
    print(*words, file=sys.stderr, flush=True)


def pause(attempt, first):
    """Doubles up to a minute; a random half is left out [2, 3]."""
    return min(first * 2 ** min(attempt, 16), 60) * random.uniform(0.5, 1)


class Agent:
    def __init__(self, options):
        self.options, self.root = options, Path(options.root)
        for directory in (self.root, self.root / "content", self.root / "groups"):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (self.root / "seed").exists():
            write(self.root / "seed", nkeys.encode_seed(os.urandom(32), nkeys.PREFIX_BYTE_USER).decode())
        self.seed = read(self.root / "seed")
        self.id = json.loads(read(self.root / "agent.json", "{}")).get("id")
        self.ledger = Ledger(self.root / "ledger.json")
        self.greeted, self.busy, self.wake = False, asyncio.Lock(), asyncio.Event()

    # Connection and enrolment [2, 4]
    async def connect(self, inbox, token=None):
        self.closed = asyncio.Event()

        async def closed(event=self.closed):
            event.set()

        # One attempt: the pauses between attempts are this agent's own.
        self.nats = await nats.connect(
            self.options.url, nkeys_seed_str=self.seed, token=token, inbox_prefix=f"_INBOX.{inbox}", connect_timeout=8,
            allow_reconnect=False, max_reconnect_attempts=1, reconnect_time_wait=0, closed_cb=closed)

    async def ask(self, subject, question=None):
        payload = b"" if question is None else json.dumps(question).encode()
        answer = json.loads((await self.nats.request(subject, payload, timeout=10)).data)
        if "errors" in answer:
            raise Refused(answer["errors"])
        return answer

    async def enrol(self):
        nkey = nkeys.from_seed(bytearray(self.seed.encode())).public_key.decode()
        await self.connect(nkey, os.environ.get("MUSTER_TOKEN"))
        try:
            enrolled = await self.ask(f"enrol.{nkey}", {"name": self.options.name, **ABOUT})
        finally:
            await self.nats.close()
        write(self.root / "agent.json", json.dumps(enrolled))
        self.id = enrolled["id"]
        log("enrolled as", self.id)

    async def run(self):
        self.restore()
        attempt = 0
        while True:
            try:
                if self.id is None:
                    await self.enrol()
                await self.connect(self.id)
                self.answered = False
                await self.session()
                attempt = 0 if self.answered else attempt
            except Refused as why:
                if why.code in FINAL:
                    sys.exit(f"the enrolment is refused: {why}")
                log("not enrolled:", why)
            except LOST as why:
                log("the server does not let the agent in, or is not there:", repr(why))
            await asyncio.sleep(pause(attempt, 0.25))
            attempt += 1

    async def session(self):
        """Until the connection is closed."""
        await self.nats.subscribe(f"agent.{self.id}.command", cb=self.pushed)
        ends = [asyncio.create_task(self.rounds()), asyncio.create_task(self.closed.wait())]
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            for end in done:
                end.result()
        finally:
            for end in ends:
                end.cancel()
            await self.nats.close()

    # Reports, hello and sync [5, 9]
    async def rounds(self):
        failed, hurried = 0, 0
        due = time.monotonic() + (random.uniform(0, 5) if self.greeted else 0)
        while True:
            try:
                while self.ledger.results:
                    answer = await self.ask(f"agent.{self.id}.result", self.ledger.report())
                    if not self.ledger.confirmed(answer["confirmed"]):
                        break
                if time.monotonic() >= due:
                    about = {} if self.greeted else ABOUT
                    verb = "sync" if self.greeted else "hello"
                    answer = await self.ask(f"agent.{self.id}.{verb}", self.ledger.state() | about)
                    self.greeted = self.answered = True
                    again = await self.take_in(answer) or answer.get("more", False)
                    hurried = hurried + 1 if again else 0
                    due = time.monotonic() + (pause(hurried, 0.05) if again else answer.get("sync_after", 60))
                failed, wait = 0, due - time.monotonic()
            except (Refused, *LOST) as why:
                log("no answer:", repr(why))
                due, wait, failed = 0, pause(failed, 2), failed + 1
            # What answered a push may not have been confirmed.
            wait = max(min(wait, 20) if self.ledger.results else wait, 0.05)
            try:
                await asyncio.wait_for(self.wake.wait(), wait)
                self.wake.clear()
                await asyncio.sleep(pause(0, 0.1))
                due = 0
            except asyncio.TimeoutError:
                pass

    # Pushes and hand-overs [5, 6, 9]
    async def pushed(self, push):
        work = asyncio.create_task(self.take_in(json.loads(push.data)))
        done, _ = await asyncio.wait([work], timeout=0.5)
        if push.reply.startswith(f"agent.{self.id}.rx."):  # a reply subject is input like any other
            answer = self.ledger.report() if done else self.ledger.receipt()
            await self.nats.publish(push.reply, json.dumps(answer).encode())
        if await work or not done:
            self.wake.set()

    async def take_in(self, hand_over):
        """Does what a hand-over says; true when the agent must sync."""
        async with self.busy:
            again = self.ledger.heard(hand_over)
            for command in hand_over.get("commands", []):
                log("command", command["action"]["name"], command["request_id"])
                if command.get("sets"):
                    again |= await self.level(command, hand_over.get("bodies", {}))
                else:
                    self.ledger.edge(command)
            return again

    async def level(self, command, bodies):
        change, again = self.ledger.level(command)
        if change is None:
            return again
        try:
            for of in change.digests.values():
                await self.fetch(of, bodies)
        except (Refused, *LOST) as why:
            log("a content is not to be had:", repr(why))
            return True
        failure = None
        try:
            self.put_in_force(change.digests)
        except OSError as why:
            failure = {"code": NOT_APPLIED, "message": str(why)[:1024]}
            self.put_in_force(self.ledger.in_force)
        return self.ledger.set(change, failure)

    # Contents [7, 10]
    async def fetch(self, of, bodies):
        path = self.root / "content" / of
        if digest(read(path, "")) == of and path.exists():
            return
        content = bodies.get(of)
        if content is None or digest(content) != of:
            log("asks for", of)
            content = (await self.ask(f"agent.{self.id}.content.{of}"))["content"]
        if digest(content) != of:
            raise Refused([{"code": "content-missing", "message": f"what was sent is not {of}"}])
        write(path, content)

    def put_in_force(self, digests):
        files = {self.root / "groups" / f"{escape(group)}.yml": of for group, of in digests.items()}
        for file, of in files.items():
            write(file, read(self.root / "content" / of))
        for file in set((self.root / "groups").iterdir()) - set(files):
            file.unlink()
        log("in force:", digests)

    def restore(self):
        """What a crash left half done is whole again; when a content is lost, all is asked for."""
        contents = [(of, read(self.root / "content" / of, "")) for of in self.ledger.in_force.values()]
        if any(digest(content) != of for of, content in contents):
            self.ledger.lanes, self.ledger.in_force = {}, {}
            self.ledger.save()
        self.put_in_force(self.ledger.in_force)


async def main():
    parser = argparse.ArgumentParser(description="A small agent of Muster. MUSTER_TOKEN holds the token to enrol with.")
    parser.add_argument("--root", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--url", default=os.environ.get("NATS_URL", "nats://127.0.0.1:4222"))
    work = asyncio.create_task(Agent(parser.parse_args()).run())
    for ending in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(ending, work.cancel)
    await asyncio.wait([work])
    if not work.cancelled():
        work.result()


if __name__ == "__main__":
    asyncio.run(main())
