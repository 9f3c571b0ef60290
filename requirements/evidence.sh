#!/bin/sh
# Runs the code of the project in the current folder. Elsewhere only `evidence compare`, which compares
# tables from anywhere, with the code of the project that this environment belongs to.
bin=${0%/*}
[ -f stages/tools/__main__.py ] && exec "$bin/python" -m stages.tools "$@"
if [ "$1" = compare ] && [ -f "$bin/../../stages/tools/__main__.py" ]; then
  export PYTHONPATH="$bin/../.."
  exec "$bin/python" -P -m stages.tools "$@"
fi
echo "evidence: run it in the project's folder, where params.yaml and stages/ are" >&2
exit 2
