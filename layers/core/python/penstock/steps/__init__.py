"""One verb each: a round of reads, one decision of the domain, a round of writes."""
