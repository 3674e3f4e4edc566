-- Principals handed over as one JSON text, as a part of other queries: thousands of them are read faster from a text than from an array.
SELECT principal.1, principal.2 FROM (SELECT arrayJoin(JSONExtract({principals:String}, 'Array(Tuple(String, String))')) AS principal)
