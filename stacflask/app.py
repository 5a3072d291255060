"""Create the application. This module connects all other packages."""

import os
from collections.abc import Callable
from functools import partial

import pluggy
from flask import Flask

from stacflask import __version__, current, logs
from stacflask.api import plugin_endpoints
from stacflask.api.download import archives, asset, many, orders
from stacflask.api.download.stream_limits import StreamSlot
from stacflask.api.http import document_schemas, errors, request_log, unknown_parameters
from stacflask.api.parameters import aggregations, search_parameters
from stacflask.api.parameters.blueprints import Api
from stacflask.api.stac import (
    aggregation,
    browse,
    children,
    collections,
    functions,
    items,
    landing,
    queryables,
    search,
    transactions,
)
from stacflask.bulkhead import THREADS_BESIDE_STREAMS, Threads
from stacflask.catalog.database.engine import Database, create_engine
from stacflask.catalog.database.migrations import PluginTables, chains
from stacflask.catalog.database.plugin_storage import PluginStorage
from stacflask.catalog.database.replica import Replicated
from stacflask.catalog.documents.assets import Directories
from stacflask.catalog.documents.documents import Managed
from stacflask.catalog.reader import Catalog
from stacflask.catalog.writer import Writer
from stacflask.disposition import FILE_NAMES
from stacflask.errors import SettingError
from stacflask.gate import Gate
from stacflask.model.decision import UNRESTRICTED
from stacflask.model.delivery import Order
from stacflask.model.services import Services
from stacflask.pluginmanager.loading import load_plugins, migrations_of, shutdown
from stacflask.settings import Settings

DESCRIPTION = "Search a catalog of assets (STAC API 1.0.0) and download them (STAC API Download 1.0.0)."


def create_app(settings: Settings, plugins: pluggy.PluginManager | None = None) -> Flask:
    """Create the application.

    Args:
        settings: The settings of the deployment.
        plugins: Plugins that are loaded already. The default is those that the settings name.

    Raises:
        SettingError: A setting or a plugin is wrong. Other errors of ``startup`` are raised as well, because a
            deployment that is set up wrongly must not serve requests.
    """
    logs.configure(settings)
    if settings.schemas:
        transactions.schema_checker(settings)
    streams = settings.max_streams
    Threads.divide(settings.threads or streams + THREADS_BESIDE_STREAMS, streams)
    manager = load_plugins(settings.plugins, os.environ) if plugins is None else plugins
    logs.set_plugins(_modules(manager), settings)
    app = Flask("stacflask", static_folder=None, template_folder="api/templates")
    if settings.tracing:
        _install_tracing(app, manager)
    gate = Gate(manager, current.request_info)
    record_metric = partial(gate.record_metric, "database_seconds")
    engines = partial(
        create_engine,
        pool_size=settings.pool_size,
        statement_timeout=settings.statement_timeout,
        pooled=settings.transaction_pooler,
    )
    primary = engines(settings.database_url)
    # Plugins never read from a replica, because they count and decide by their data.
    storage = PluginStorage(Database(primary, record_metric))
    replica = settings.replica_url and engines(settings.replica_url, variable="STACFLASK_REPLICA_URL")
    database = Replicated(primary, replica, record_metric) if replica else Database(primary, record_metric)
    directories = Directories(settings.directory_types)
    timeouts = (settings.aggregate_timeout, settings.costly_timeout)
    catalog = Catalog(database, directories, *timeouts, settings.hidden_extents)
    if plugins is None:
        catalog.plugin_tables = PluginTables(chains(migrations_of(settings.plugins))[1:])
    manager.hook.startup(
        services=Services(
            storage,
            refresh_principal=gate.refresh_principal,
            record_metric=gate.record_metric,
            order_status=_order_status(catalog, gate),
            changes_possible=gate.writable,
            filename=FILE_NAMES[settings.file_names],
            share_states=lambda: [*Threads.states(), *database.pool_states(), StreamSlot.state(streams)],
        )
    )
    components = current.Components(
        settings, gate, catalog, Writer(catalog, Managed(settings.managed_hrefs, settings.public_hrefs))
    )
    app.extensions[current.EXTENSION] = components
    request_log.register(app, settings, components.gate.identifying_headers)
    _add_routes(app, components, manager)
    return app


def _install_tracing(app: Flask, manager: pluggy.PluginManager) -> None:
    try:
        from stacflask import tracing
    except ImportError as error:
        problem = f"the package {error.name} is missing. Install stacflask[tracing]"
        raise SettingError("STACFLASK_TRACING", problem) from error
    tracing.install(app, manager)


def close_app(app: Flask) -> None:
    """Call the hook ``shutdown`` of the application's plugins. Called once, when a process ends."""
    shutdown(app.extensions[current.EXTENSION].gate.plugins)


def _modules(manager: pluggy.PluginManager) -> dict[str, str]:
    """Return the names of the plugins' modules, by the names of the plugins."""
    return {name: getattr(plugin, "__name__", type(plugin).__module__) for name, plugin in manager.list_name_plugin()}


def _order_status(catalog: Catalog, gate: Gate) -> Callable[[str, str | None, str], Order]:
    return lambda collection, item, key: gate.order_status(catalog.asset(collection, item, key, UNRESTRICTED))


def _add_routes(app: Flask, components: current.Components, manager: pluggy.PluginManager) -> None:
    # A path with a double or trailing slash is not redirected, because a redirect would lose a POST.
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["key"] = asset.AssetKeyConverter
    api = _description(app, components.settings)
    description_blueprints = [functions.bp, queryables.bp, aggregation.bp]
    download_blueprints = [asset.bp, many.bp, archives.bp, orders.bp]
    record_blueprints = [landing.bp, children.bp, browse.bp, collections.bp, items.bp, search.bp]
    blueprints = [*record_blueprints, *description_blueprints, *download_blueprints]
    for blueprint in [*blueprints, *([transactions.bp] if components.gate.writable else [])]:
        api.register_blueprint(blueprint)
    endpoints = [endpoint for endpoints in manager.hook.extend_api() for endpoint in endpoints]
    plugin_endpoints.register(app, api.spec, components.gate.challenges(), endpoints)
    if components.settings.strict_parameters:
        app.before_request(unknown_parameters.checker(api.spec))
    # The error handlers are registered last, to take precedence over those of flask-smorest.
    errors.register(app)


def _description(app: Flask, settings: Settings) -> Api:
    app.config.update(API_TITLE=settings.title, API_VERSION=__version__, OPENAPI_VERSION="3.0.3")
    api = Api(app, spec_kwargs={"info": {"description": DESCRIPTION}})
    for name, schema in {**document_schemas.SCHEMAS, **search_parameters.BODIES, **aggregations.BODIES}.items():
        api.spec.components.schema(name, schema)
    for name, parameter in search_parameters.components(settings).items():
        api.spec.components.parameter(name, "query", parameter)
    return api
