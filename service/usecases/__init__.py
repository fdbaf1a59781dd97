"""Use cases: each public function performs one operation and owns its transaction."""
