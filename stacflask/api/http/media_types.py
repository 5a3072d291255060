"""Media types of responses."""

JSON = "application/json"
GEOJSON = "application/geo+json"
SCHEMA = "application/schema+json"


OPENAPI = "application/vnd.oai.openapi+json;version=3.0"
HTML = "text/html"
