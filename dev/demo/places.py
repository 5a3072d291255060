"""The places of the demo. The places are real, their pictures are invented."""

from typing import NamedTuple


class Place(NamedTuple):
    """A named place and the kind of its landscape (see landscape.CLIMATES)."""

    slug: str
    name: str
    lon: float
    lat: float
    climate: str


CALIBRATION_FIELD = Place("calibration-field", "Joint calibration field", -115.69, 38.5, "desert")

SCENES = [
    Place("danube-delta", "Danube delta", 29.35, 45.12, "delta"),
    Place("lofoten", "Lofoten", 13.95, 68.2, "islands"),
    Place("valais", "Valais Alps", 7.7, 46.05, "alps"),
    Place("andalusia", "Lower Guadalquivir", -5.9, 37.2, "farmland"),
    Place("beauce", "Beauce", 1.6, 48.2, "farmland"),
    Place("iceland-south", "Southern Iceland", -19.6, 63.6, "ice"),
    Place("svalbard", "Nordenskiöld Land", 15.6, 78.0, "ice"),
    Place("great-sand-sea", "Great Sand Sea", 20.5, 20.5, "desert"),
    Place("sahel-mopti", "Inner Niger delta", -4.2, 14.5, "savanna"),
    Place("gulf-of-guinea", "Gulf of Guinea", 0.0, 0.0, "sea"),
    Place("congo-basin", "Congo basin", 22.5, 0.6, "forest"),
    Place("serengeti", "Serengeti plain", 34.8, -2.4, "savanna"),
    Place("okavango", "Okavango delta", 22.9, -19.3, "delta"),
    Place("cape-agulhas", "Cape Agulhas", 20.0, -34.7, "coast"),
    Place("madagascar-east", "Masoala peninsula", 50.0, -15.7, "coast"),
    Place("empty-quarter", "Empty Quarter", 50.5, 20.2, "desert"),
    Place("ganges-delta", "Sundarbans", 89.2, 21.9, "delta"),
    Place("karakoram", "Karakoram", 76.5, 35.8, "alps"),
    Place("gobi", "Southern Gobi", 104.0, 43.2, "desert"),
    Place("riau", "Riau lowlands", 101.6, 0.5, "forest"),
    Place("mekong-delta", "Mekong delta", 105.9, 9.9, "delta"),
    Place("visayas", "Visayan Sea", 123.6, 11.2, "islands"),
    Place("seto-sea", "Seto Inland Sea", 133.4, 34.2, "islands"),
    Place("hokkaido", "Tokachi plain", 143.1, 42.9, "farmland"),
    Place("lena-delta", "Lena delta", 126.6, 72.8, "delta"),
    Place("kimberley", "Kimberley", 125.2, -16.4, "savanna"),
    Place("great-barrier-reef", "Great Barrier Reef", 147.8, -18.8, "sea"),
    Place("simpson-desert", "Simpson Desert", 137.3, -25.0, "desert"),
    Place("tasmania", "South-west Tasmania", 146.1, -43.0, "coast"),
    Place("fiordland", "Fiordland", 167.6, -45.2, "alps"),
    Place("tuamotu", "Tuamotu", -144.9, -16.8, "islands"),
    Place("kauai", "Kauai channel", -158.9, 21.8, "islands"),
    Place("kenai", "Kenai peninsula", -150.2, 59.9, "coast"),
    Place("banks-island", "Banks Island", -121.5, 73.0, "ice"),
    Place("saskatchewan", "Saskatchewan prairie", -106.2, 51.4, "farmland"),
    Place("central-valley", "Central Valley", -120.2, 36.8, "farmland"),
    Place("sonora", "Sonora", -112.6, 30.6, "desert"),
    Place("chesapeake", "Chesapeake Bay", -76.2, 38.0, "coast"),
    Place("bahamas", "Exuma", -76.1, 24.2, "islands"),
    Place("sargasso-sea", "Sargasso Sea", -61.0, 28.5, "sea"),
    Place("amazon-mouth", "Mouth of the Amazon", -50.4, -0.1, "delta"),
    Place("mato-grosso", "Mato Grosso", -55.8, -12.4, "forest"),
    Place("atacama", "Atacama", -69.3, -24.1, "desert"),
    Place("pampas", "Pampas", -61.3, -35.4, "farmland"),
    Place("patagonia-ice", "Southern Patagonian ice field", -73.4, -49.6, "ice"),
    Place("drake-passage", "Drake Passage", -63.5, -58.7, "sea"),
    Place("disko-bay", "Disko Bay", -51.6, 69.1, "ice"),
    Place("bay-of-bengal", "Bay of Bengal", 88.4, 14.9, "sea"),
]

HARBOURS = [
    Place("rotterdam", "Rotterdam", 4.12, 51.95, "port"),
    Place("gibraltar", "Strait of Gibraltar", -5.55, 35.97, "coast"),
    Place("bosporus", "Bosporus", 29.05, 41.1, "port"),
    Place("suez", "Suez anchorage", 32.55, 29.88, "port"),
    Place("hormuz", "Strait of Hormuz", 56.4, 26.5, "islands"),
    Place("malacca", "Strait of Malacca", 101.2, 2.6, "sea"),
    Place("singapore", "Singapore Strait", 103.8, 1.22, "port"),
    Place("busan", "Busan", 129.0, 35.07, "port"),
    Place("yokohama", "Yokohama", 139.69, 35.42, "port"),
    Place("sydney", "Port Jackson", 151.22, -33.84, "coast"),
    Place("durban", "Durban", 31.03, -29.88, "port"),
    Place("lagos", "Lagos", 3.4, 6.42, "port"),
    Place("santos", "Santos", -46.3, -23.97, "port"),
    Place("magellan", "Strait of Magellan", -70.8, -53.6, "alps"),
    Place("panama", "Panama anchorage", -79.53, 8.88, "coast"),
    Place("los-angeles", "San Pedro Bay", -118.21, 33.74, "port"),
    Place("vancouver", "Burrard Inlet", -123.12, 49.3, "coast"),
    Place("halifax", "Halifax", -63.57, 44.65, "coast"),
    Place("nuuk", "Nuuk fjord", -51.6, 64.2, "ice"),
    Place("aland", "Åland", 20.1, 60.1, "islands"),
    Place("north-sea", "German Bight", 7.4, 54.4, "sea"),
    Place("maasvlakte-fields", "Voorne", 4.15, 51.83, "farmland"),
]
