"""The conformance classes. Each is declared only if it is implemented completely."""

STAC = "https://api.stacspec.org/v1.0.0"
STAC_RC_1 = "https://api.stacspec.org/v1.0.0-rc.1"
STAC_1_1 = "https://api.stacspec.org/v1.1.0"
AGGREGATION = "https://api.stacspec.org/v0.3.0"
CHILDREN = "https://api.stacspec.org/v1.0.0-rc.2"
OGC = "http://www.opengis.net/spec"
FILTER = f"{OGC}/ogcapi-features-3/1.0/conf"
CQL2 = f"{OGC}/cql2/1.0/conf"
FEATURES = f"{OGC}/ogcapi-features-1/1.0/conf"

ALWAYS = (
    f"{STAC}/core",
    f"{STAC}/collections",
    f"{STAC}/ogcapi-features",
    f"{STAC}/item-search",
    f"{STAC}/download",
    f"{AGGREGATION}/aggregation",
    f"{AGGREGATION}/aggregation#query",
    f"{AGGREGATION}/aggregation#filter",
    "https://api.stacspec.org/v1.0.0-rc.3/browseable",
    f"{CHILDREN}/children",
    f"{CHILDREN}/children#type-filter",
    f"{STAC}/children",
    f"{STAC}/children#type-filter",
    f"{STAC_1_1}/item-search#sortables",
    f"{STAC_1_1}/collection-search#sortables",
    f"{FILTER}/queryables",
    f"{OGC}/ogcapi-features-5/1.0/conf/sortables",
    f"{OGC}/ogcapi-features-8/1.0/conf/sortables",
    f"{FEATURES}/core",
    f"{FEATURES}/geojson",
    f"{FEATURES}/oas30",
)
FREE_TEXT = ("free-text", "advanced-free-text")
SEARCHES = (
    *(f"{STAC_RC_1}/{where}#{what}" for where in ("item-search", "ogcapi-features") for what in FREE_TEXT),
    f"{STAC_RC_1}/collection-search",
    *(f"{STAC_RC_1}/collection-search#{what}" for what in ("fields", "filter", "query", "sort", *FREE_TEXT)),
    f"{STAC_1_1}/collection-search#sort",
    "http://www.opengis.net/spec/ogcapi-common-2/1.0/conf/simple-query",
    *(f"{STAC}/{where}#{what}" for where in ("item-search", "ogcapi-features") for what in ("fields", "query", "sort")),
    *(f"{STAC_1_1}/{where}#sort" for where in ("item-search", "ogcapi-features")),
)
FILTERS = (
    f"{STAC}/item-search#filter",
    f"{FILTER}/filter",
    f"{FILTER}/features-filter",
    f"{CQL2}/cql2-text",
    f"{CQL2}/cql2-json",
    f"{CQL2}/basic-cql2",
    f"{CQL2}/advanced-comparison-operators",
    f"{CQL2}/case-insensitive-comparison",
    f"{CQL2}/accent-insensitive-comparison",
    f"{CQL2}/basic-spatial-functions",
    f"{CQL2}/basic-spatial-functions-plus",
    f"{CQL2}/spatial-functions",
    f"{CQL2}/temporal-functions",
    f"{CQL2}/array-functions",
    f"{CQL2}/property-property",
    f"{CQL2}/arithmetic",
    f"{CQL2}/functions",
    # Names of drafts of the standard, which some clients still check.
    f"{CQL2}/basic-spatial-operators",
    f"{CQL2}/temporal-operators",
)
WRITABLE = (
    f"{STAC}/ogcapi-features/extensions/transaction",
    f"{STAC}/collections/extensions/transaction",
)


def classes(*, writable: bool) -> list[str]:
    """Return the conformance classes of this deployment."""
    return sorted(ALWAYS + SEARCHES + FILTERS + (WRITABLE if writable else ()))
