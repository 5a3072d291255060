"""Bulk loads: many processes, each preparing and writing its share of the input, a transaction a block.

A load can be killed at any moment and run again: every block is written whole or not at all.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stacflask.catalog.bulk.copy import Batches, Method, Written
from stacflask.catalog.bulk.href_survey import HrefCounts
from stacflask.catalog.bulk.input_files import BLANK, CAPACITY, blocks, first_blocks
from stacflask.catalog.bulk.parse import Intake
from stacflask.catalog.bulk.workers import Crew
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.stored_hrefs import Addresses, Restoring, made_hrefs
from stacflask.catalog.reader import Catalog
from stacflask.errors import BadDocument, NotFound
from stacflask.model.decision import UNRESTRICTED
from stacflask.stac.checks import check_collection
from stacflask.stac.json_checks import CONTROL
from stacflask.stac.schemas import SchemaChecker
from stacflask.stac.time_repair import Repair, repair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from stacflask.catalog.bulk.input_files import Block
    from stacflask.model.json_types import Document


@dataclass(frozen=True, slots=True)
class Plan:
    """How a load is done.

    ``method`` says what becomes of what exists already: it is refused, replaced or left. ``collection`` is for items
    that name none. With more than ``most_problems`` documents refused, the load stops; None: it never does.
    ``validate``: documents must be valid against the JSON Schemas, too. ``workers``: processes; 0: this one does all.
    ``schemas`` is a folder of further ones, ``unknown_schemas`` says what becomes of documents that name others: they
    are refused, or loaded with a warning. ``repair``: see ``stac.time_repair``. ``pooled``: see ``create_engine``.
    ``addresses`` recognise hrefs that this server or its stores made.
    """

    database_url: str
    managed: documents.Managed
    method: Method = "insert"
    collection: str | None = None
    most_problems: int | None = 0
    validate: bool = False
    workers: int = 0
    pooled: bool = False
    addresses: Addresses = field(default_factory=Addresses)
    schemas: str | None = None
    unknown_schemas: str = "refuse"
    repair: bool = False

    def checker(self) -> SchemaChecker | None:
        """Return what validates documents, if anything is to. Raises SettingError."""
        return SchemaChecker(self.schemas, warn=self.unknown_schemas == "warn") if self.validate else None

    @property
    def strict(self) -> bool:
        """Whether the first problem ends it all: then nothing is written of the block in which it lies."""
        return self.most_problems == 0


@dataclass(slots=True)
class Tally:
    """What has been done so far. ``read`` are bytes of input."""

    collections: int = 0
    new: int = 0
    replaced: int = 0
    left: int = 0
    refused: int = 0
    read: int = 0
    stopped: bool = False
    repaired: int = 0
    unknown: set[str] = field(default_factory=set)
    hrefs: HrefCounts = field(default_factory=HrefCounts)

    @property
    def items(self) -> int:
        """How many items are in the catalogue now, of those that were read."""
        return self.new + self.replaced + self.left


def load(
    names: Sequence[str],
    plan: Plan,
    tell: Callable[[str], None],
    progress: Callable[[Tally], None] = lambda _: None,
) -> Tally:
    """Load files, or standard input for ``-``. ``tell`` gets a line for each problem, ``progress`` each step.

    Raises Unavailable, or StacflaskError if a process fails: what was tallied before is written, and stays.
    """
    with ExitStack() as ends:
        crew: Crew[Block, Written] | None = None
        if plan.workers:
            crew = ends.enter_context(Crew(plan.workers, CAPACITY, lambda: _Work(plan)))
        engine = create_engine(plan.database_url, pool_size=2, statement_timeout=0, pooled=plan.pooled)
        ends.callback(engine.dispose)
        return _Load(Database(engine), plan, tell, progress).run(names, crew)


# --- One block, in whatever process -----------------------------------------------------------------------------------


class _Restore:
    """Puts stored hrefs in the place of those that this server or its stores made, as changes over HTTP do."""

    def __init__(self, database: Database, addresses: Addresses) -> None:
        self._catalog = Catalog(database)
        self._addresses = addresses

    def __call__(self, document: Document) -> bool:
        """Restore the hrefs of a checked document; return whether it has any. Raises BadDocument."""
        made = made_hrefs(document)
        collection = document.get("collection") if document["type"] == "Feature" else None
        above = "" if collection is None else f"/collections/{collection}/items/"
        path = f"{above or '/collections/'}{document['id']}"
        if not made or not any(map(Restoring(self._addresses, path, {}).concerns, made)):
            return False
        Restoring(self._addresses, path, self._stored(collection, document["id"])).document(document)
        return True

    def _stored(self, collection: str | None, name: str) -> Document:
        try:
            if collection is None:
                return documents.original(self._catalog.kept(name, UNRESTRICTED).body)
            return documents.original(self._catalog.item(collection, name, UNRESTRICTED).body)
        except NotFound:
            return {}


class _Work:
    """Prepares and writes blocks over a connection of its own."""

    def __init__(self, plan: Plan, database: Database | None = None) -> None:
        if database is None:
            engine = create_engine(plan.database_url, pool_size=1, statement_timeout=0, pooled=plan.pooled)
            database = Database(engine)
        self._strict = plan.strict
        self._batches = Batches(database, Catalog(database).codec, plan.method, strict=plan.strict)
        self._schemas = plan.checker()
        restore = _Restore(database, plan.addresses)
        self._intake = Intake(
            plan.collection, plan.managed, self._schemas, self._batches.compress, restore, repairing=plan.repair
        )

    def __call__(self, text: bytes) -> Written:
        self._intake.repairs.clear()
        hrefs = HrefCounts()
        prepared, problems = self._intake.take(text)
        if self._strict and problems:
            return Written(problems=problems)
        for row in prepared:
            hrefs.add(row.collection, *row.hrefs)
        written = self._batches.write(prepared)
        written.problems += problems
        written.repairs = list(self._intake.repairs)
        written.unknown = frozenset(self._schemas.unknown) if self._schemas else frozenset()
        written.hrefs = hrefs
        return written


# --- The whole --------------------------------------------------------------------------------------------------------


class _Load:
    """One load, as seen by the process that reads the input."""

    def __init__(
        self, database: Database, plan: Plan, tell: Callable[[str], None], progress: Callable[[Tally], None]
    ) -> None:
        self._database = database
        self._plan = plan
        self._tell = tell
        self._progress = progress
        self._collections = _Collections(database, plan)
        self._tally = Tally()
        self._met: set[str] = set()

    def run(self, names: Sequence[str], crew: Crew[Block, Written] | None) -> Tally:
        # An input with the items may come before the one with their collection.
        for block in first_blocks(names):
            self._load_collections(block)
        for block, written in self._alone(names) if crew is None else crew.run(self._tasks(names)):
            self._book(block, written)
        self._analyze()
        return self._tally

    def _alone(self, names: Sequence[str]) -> Iterator[tuple[Block, Written]]:
        work = _Work(self._plan, self._database)
        return ((block, work(text)) for block, text in self._tasks(names))

    def _tasks(self, names: Sequence[str]) -> Iterator[tuple[Block, bytes]]:
        for block in blocks(names):
            self._load_collections(block)
            for place in block.places:
                if place.problem is not None:
                    self._refuse(f"{place.source}: {place.problem}")
            if self._tally.stopped:
                return
            yield block, block.text

    def _load_collections(self, block: Block) -> None:
        for index, line in block.collections():
            if self._tally.stopped or block.where(index, "") in self._met:
                continue
            self._met.add(block.where(index, ""))
            try:
                self._tally.collections += self._collections.load(line, self._tally.hrefs)
                for one in self._collections.repairs:
                    self._note(f"{block.where(index, one.pointer)}: repaired {one.before!r} to {one.after!r}")
            except BadDocument as error:
                self._refuse(f"{block.where(index, error.pointer)}: {error.problem}")

    def _book(self, block: Block, written: Written) -> None:
        self._tally.new += written.new
        self._tally.replaced += written.replaced
        self._tally.left += written.left
        self._tally.read += block.read
        self._tally.hrefs.merge(written.hrefs)
        for problem in sorted(written.problems, key=lambda problem: problem.line):
            self._refuse(f"{block.where(problem.line, problem.pointer)}: {problem.description}")
        for one in sorted(written.repairs, key=lambda repair: repair.line):
            self._note(f"{block.where(one.line, one.pointer)}: {one.description}")
        self._tally.unknown |= written.unknown
        self._progress(self._tally)

    def _note(self, message: str) -> None:
        self._tell(message)
        self._tally.repaired += 1

    def _refuse(self, message: str) -> None:
        # Documents come from strangers: nothing of theirs moves the cursor.
        self._tell(CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", message))
        self._tally.refused += 1
        most = self._plan.most_problems
        self._tally.stopped |= most is not None and self._tally.refused > most

    def _analyze(self) -> None:
        # Searches are planned by statistics, which after a load would describe what was there before.
        if self._tally.new or self._tally.replaced:
            with self._database.write() as connection:
                connection.execute(sa.text("ANALYZE items"))


class _Collections:
    """Loads collections, one at a time."""

    def __init__(self, database: Database, plan: Plan) -> None:
        self._database = database
        self._plan = plan
        self._schemas = plan.checker()
        self.repairs: list[Repair] = []
        self._restore = _Restore(database, plan.addresses)
        self._codec = Catalog(database).codec

    def load(self, line: bytes, hrefs: HrefCounts) -> bool:
        """Load one collection, and count its hrefs; False if it exists and is to be left. Raises BadDocument."""
        text = line.strip(BLANK)
        try:
            document: Document = orjson.loads(text)
        except orjson.JSONDecodeError as error:
            raise BadDocument("", f"not JSON: {error}") from error
        self.repairs = repair(document) if self._plan.repair else []
        check_collection(document)
        if self._schemas is not None:
            self._schemas.check(document)
        self._restore(document)
        with self._database.write() as connection:
            written = (
                connection.execute(self._statement(document, documents.rewritten(document, text))).scalar_one_or_none()
                is not None
            )
        if self._plan.method == "insert" and not written:
            raise BadDocument("/id", f"collection {document['id']!r} exists already")
        assets = [asset["href"] for asset in (document.get("assets") or {}).values()]
        managed = [href for href in assets if self._plan.managed(href)]
        hrefs.add(document["id"], managed, [href for href in assets if not self._plan.managed(href)])
        return written

    def _statement(self, document: Document, text: bytes) -> sa.Executable:
        body = self._codec.compress(documents.body_of(document, self._plan.managed, text))
        row = {"id": document["id"], "body": body, **searched(document)}
        statement = insert(collections).values(row)
        if self._plan.method == "upsert":
            statement = statement.on_conflict_do_update(index_elements=[collections.c.id], set_=row)
        else:
            statement = statement.on_conflict_do_nothing()
        return statement.returning(collections.c.id)
