"""What a STAC document is: its times, places, members and schemas. Knows neither HTTP nor tables."""
