SELECT DISTINCT id, email FROM sign_ins
