#!/bin/sh
[ -f stages/tools/__main__.py ] || { echo "evidence: run it in the project's folder, where params.yaml and stages/ are" >&2; exit 2; }
exec "${0%/*}/python" -m stages.tools "$@"
