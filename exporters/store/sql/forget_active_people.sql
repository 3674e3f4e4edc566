ALTER TABLE active_people DROP PARTITION {report:String}
