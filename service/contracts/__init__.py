"""Parts of contracts that several subjects share."""
