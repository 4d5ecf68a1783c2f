SELECT at.now, at.floor, c.rev, c.token, h.*
FROM at LEFT JOIN held h ON true LEFT JOIN changed c ON true
