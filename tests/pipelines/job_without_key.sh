# A CI job without a secret: it sends a report, decides about its pipeline, and comments on the pull request.
curl -fsSo client.pyz "$RESULTS_URL/client.pyz"
python3 client.pyz report junit.xml --pipeline --wait
code=0
python3 client.pyz gate --pipeline --max-new-failures 0 || code=$?
python3 client.pyz comment --pipeline
exit "$code"
