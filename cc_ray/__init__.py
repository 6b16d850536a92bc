"""CC-Ray: explore, record and compare compressed models."""
