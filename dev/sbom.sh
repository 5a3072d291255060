#!/bin/sh
# Writes the CycloneDX bill of materials of an installation: the packages of requirements.txt, with their licences.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder"
"$folder/bin/pip" install -q --disable-pip-version-check --require-hashes -r requirements.txt
"$folder/bin/pip" uninstall -q --yes pip setuptools
mkdir -p dist
.venv/release/bin/python -m cyclonedx_py environment "$folder" --pyproject pyproject.toml --mc-type application \
    --output-reproducible --spec-version 1.6 --validate -o dist/sbom.json
