"""Bulk loads: each of several processes prepares and writes blocks of the input, one transaction for each block.

A load can be interrupted at any time and run again, because a block is written completely or not at all.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from stacflask.catalog.bulk.copy import BatchResult, BatchWriter, WriteMethod
from stacflask.catalog.bulk.href_survey import HrefCounts
from stacflask.catalog.bulk.input_files import BLANK, MAX_BLOCK_BYTES, Block, blocks, first_blocks
from stacflask.catalog.bulk.parse import ItemParser
from stacflask.catalog.bulk.workers import WorkerPool
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.tables import collections
from stacflask.catalog.documents import documents
from stacflask.catalog.documents.collection_rows import searched
from stacflask.catalog.documents.stored_hrefs import Addresses, StoredHrefs, possible_server_hrefs
from stacflask.catalog.reader import Catalog
from stacflask.errors import BadDocument, NotFound
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.json_types import Document
from stacflask.stac.checks import check_collection
from stacflask.stac.json_checks import CONTROL
from stacflask.stac.schemas import SchemaChecker
from stacflask.stac.time_repair import Repair, repair


@dataclass(frozen=True, slots=True)
class Plan:
    """The options of a load.

    Args:
        database_url: The database.
        managed: Decides which hrefs are storage addresses.
        method: What happens to existing records: they are refused, replaced or left unchanged.
        collection: The collection of items that do not have one.
        max_problems: With more refused documents, the load stops; None is unlimited.
        validate: Whether documents must be valid against their JSON Schemas.
        workers: Number of processes; 0 loads in this process.
        pooled: See ``create_engine``.
        addresses: Recognizes URLs of this server and of its stores.
        schemas: A folder with further schemas.
        unknown_schemas: Whether documents with unknown schemas are refused, or loaded with a warning.
        repair: See ``stac.time_repair``.
    """

    database_url: str
    managed: documents.Managed
    method: WriteMethod = "insert"
    collection: str | None = None
    max_problems: int | None = 0
    validate: bool = False
    workers: int = 0
    pooled: bool = False
    addresses: Addresses = field(default_factory=Addresses)
    schemas: str | None = None
    unknown_schemas: str = "refuse"
    repair: bool = False

    def checker(self) -> SchemaChecker | None:
        """Return the validator of documents, if they are validated. Raises SettingError."""
        return SchemaChecker(self.schemas, warn=self.unknown_schemas == "warn") if self.validate else None

    @property
    def strict(self) -> bool:
        """Whether the load stops at the first problem. Nothing of its block is written then."""
        return self.max_problems == 0


@dataclass(slots=True)
class LoadResult:
    """The result of a load so far. ``read`` is the size of the input in bytes, ``changed`` the changed collections."""

    collections: int = 0
    new: int = 0
    replaced: int = 0
    left: int = 0
    refused: int = 0
    read: int = 0
    stopped: bool = False
    repaired: int = 0
    unknown: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    hrefs: HrefCounts = field(default_factory=HrefCounts)

    @property
    def items(self) -> int:
        """The number of items that were read and are in the catalogue."""
        return self.new + self.replaced + self.left


def load(
    names: Sequence[str],
    plan: Plan,
    report_problem: Callable[[str], None],
    progress: Callable[[LoadResult], None] = lambda _: None,
    result: LoadResult | None = None,
) -> LoadResult:
    """Load files, or standard input for ``-``.

    Args:
        names: The files.
        plan: The options.
        report_problem: Called with a line for each problem.
        progress: Called after each step.
        result: The object that is updated and returned. After an error it has what was written.

    Raises:
        Unavailable: The database cannot be used. Blocks that were written stay.
        StacflaskError: A process failed. Blocks that were written stay.
    """
    with ExitStack() as stack:
        pool: WorkerPool[Block, BatchResult] | None = None
        if plan.workers:
            pool = stack.enter_context(WorkerPool(plan.workers, MAX_BLOCK_BYTES, lambda: _BlockLoader(plan)))
        engine = create_engine(plan.database_url, pool_size=2, statement_timeout=0, pooled=plan.pooled)
        stack.callback(engine.dispose)
        return _LoadRun(Database(engine), plan, report_problem, progress, result or LoadResult()).run(names, pool)


# --- One block, in any process ----------------------------------------------------------------------------------------


class _HrefRestorer:
    """Restores stored hrefs in place of URLs of this server or its stores, as changes over HTTP do."""

    def __init__(self, database: Database, addresses: Addresses) -> None:
        self._catalog = Catalog(database)
        self._addresses = addresses

    def __call__(self, document: Document) -> bool:
        """Restore the hrefs of a checked document. Return whether it has any. Raises BadDocument."""
        server_hrefs = possible_server_hrefs(document)
        collection = document.get("collection") if document["type"] == "Feature" else None
        parent_path = "" if collection is None else f"/collections/{collection}/items/"
        path = f"{parent_path or '/collections/'}{document['id']}"
        if not server_hrefs or not any(map(StoredHrefs(self._addresses, path, {}).is_relevant, server_hrefs)):
            return False
        StoredHrefs(self._addresses, path, self._stored(collection, document["id"])).document(document)
        return True

    def _stored(self, collection: str | None, name: str) -> Document:
        try:
            if collection is None:
                return documents.original(self._catalog.stored_collection(name, UNRESTRICTED).body)
            return documents.original(self._catalog.item(collection, name, UNRESTRICTED).body)
        except NotFound:
            return {}


class _BlockLoader:
    """Prepares and writes blocks with its own connection."""

    def __init__(self, plan: Plan, database: Database | None = None) -> None:
        if database is None:
            engine = create_engine(plan.database_url, pool_size=1, statement_timeout=0, pooled=plan.pooled)
            database = Database(engine)
        self._strict = plan.strict
        self._batches = BatchWriter(database, Catalog(database).codec, plan.method, strict=plan.strict)
        self._schemas = plan.checker()
        restore = _HrefRestorer(database, plan.addresses)
        self._parser = ItemParser(
            plan.collection, plan.managed, self._schemas, self._batches.compress, restore, repairing=plan.repair
        )

    def __call__(self, text: bytes) -> BatchResult:
        self._parser.repairs.clear()
        hrefs = HrefCounts()
        prepared, problems = self._parser.parse(text)
        if self._strict and problems:
            return BatchResult(problems=problems)
        for row in prepared:
            hrefs.add(row.collection, *row.hrefs)
        written = self._batches.write(prepared)
        written.problems += problems
        written.repairs = list(self._parser.repairs)
        written.unknown = frozenset(self._schemas.unknown) if self._schemas else frozenset()
        written.hrefs = hrefs
        return written


# --- The whole load ---------------------------------------------------------------------------------------------------


class _LoadRun:
    """One load, in the process that reads the input."""

    def __init__(
        self,
        database: Database,
        plan: Plan,
        report_problem: Callable[[str], None],
        progress: Callable[[LoadResult], None],
        result: LoadResult,
    ) -> None:
        self._database = database
        self._plan = plan
        self._report_problem = report_problem
        self._progress = progress
        self._collections = _CollectionLoader(database, plan)
        self._result = result
        self._loaded: set[str] = set()

    def run(self, names: Sequence[str], pool: WorkerPool[Block, BatchResult] | None) -> LoadResult:
        # An input with items can come before the input with their collection.
        for block in first_blocks(names):
            self._load_collections(block)
        for block, written in self._run_without_workers(names) if pool is None else pool.run(self._tasks(names)):
            self._add_result(block, written)
        self._analyze()
        return self._result

    def _run_without_workers(self, names: Sequence[str]) -> Iterator[tuple[Block, BatchResult]]:
        work = _BlockLoader(self._plan, self._database)
        return ((block, work(text)) for block, text in self._tasks(names))

    def _tasks(self, names: Sequence[str]) -> Iterator[tuple[Block, bytes]]:
        for block in blocks(names):
            self._load_collections(block)
            for source_range in block.ranges:
                if source_range.problem is not None:
                    self._refuse(f"{source_range.source}: {source_range.problem}")
            if self._result.stopped:
                return
            yield block, block.text

    def _load_collections(self, block: Block) -> None:
        for index, line in block.collections():
            if self._result.stopped or block.where(index, "") in self._loaded:
                continue
            self._loaded.add(block.where(index, ""))
            try:
                if name := self._collections.load(line, self._result.hrefs):
                    self._result.collections += 1
                    self._result.changed.add(name)
                for one in self._collections.repairs:
                    self._report_repair(f"{block.where(index, one.pointer)}: repaired {one.before!r} to {one.after!r}")
            except BadDocument as error:
                self._refuse(f"{block.where(index, error.pointer)}: {error.problem}")

    def _add_result(self, block: Block, written: BatchResult) -> None:
        self._result.new += written.new
        self._result.replaced += written.replaced
        self._result.left += written.left
        self._result.read += block.read
        self._result.changed |= written.changed
        self._result.hrefs.merge(written.hrefs)
        for problem in sorted(written.problems, key=lambda problem: problem.line):
            self._refuse(f"{block.where(problem.line, problem.pointer)}: {problem.description}")
        for one in sorted(written.repairs, key=lambda repair: repair.line):
            self._report_repair(f"{block.where(one.line, one.pointer)}: {one.description}")
        self._result.unknown |= written.unknown
        self._progress(self._result)

    def _report_repair(self, message: str) -> None:
        self._report_problem(message)
        self._result.repaired += 1

    def _refuse(self, message: str) -> None:
        # Documents are untrusted. Escape control characters, which a terminal would interpret.
        self._report_problem(CONTROL.sub(lambda one: f"\\x{ord(one[0]):02x}", message))
        self._result.refused += 1
        most = self._plan.max_problems
        self._result.stopped |= most is not None and self._result.refused > most

    def _analyze(self) -> None:
        # The planner needs statistics of the new rows.
        if self._result.new or self._result.replaced:
            with self._database.write() as connection:
                connection.execute(sa.text("ANALYZE items"))


class _CollectionLoader:
    """Loads collections, one at a time."""

    def __init__(self, database: Database, plan: Plan) -> None:
        self._database = database
        self._plan = plan
        self._schemas = plan.checker()
        self.repairs: list[Repair] = []
        self._restore = _HrefRestorer(database, plan.addresses)
        self._codec = Catalog(database).codec

    def load(self, line: bytes, hrefs: HrefCounts) -> str | None:
        """Load one collection and count its hrefs. Return its id, or None if it is left. Raises BadDocument."""
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
        return str(document["id"]) if written else None

    def _statement(self, document: Document, text: bytes) -> sa.Executable:
        body = self._codec.compress(documents.body_of(document, self._plan.managed, text))
        row = {"id": document["id"], "body": body, **searched(document)}
        statement = insert(collections).values(row)
        if self._plan.method == "upsert":
            statement = statement.on_conflict_do_update(index_elements=[collections.c.id], set_=row)
        else:
            statement = statement.on_conflict_do_nothing()
        return statement.returning(collections.c.id)
