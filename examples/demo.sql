-- The demo's job: a small shop, so that every part of the output has something to show.
DROP TABLE IF EXISTS orders;
CREATE TABLE orders (
    id       INTEGER PRIMARY KEY,
    customer TEXT    NOT NULL,
    city     TEXT,
    amount   REAL    NOT NULL,
    paid     BOOLEAN NOT NULL
);

INSERT INTO orders (customer, city, amount, paid) VALUES
    ('Li Wei',    'Beijing',  1280.50, TRUE),
    ('Chen Jing', 'Shanghai',   64.00, FALSE),
    ('Ada',       NULL,        999.99, TRUE),
    ('Grace',     'New York',  310.25, TRUE);

UPDATE orders SET paid = TRUE WHERE customer = 'Chen Jing';

SELECT id, customer, city, amount, paid FROM orders ORDER BY amount DESC;

SELECT count(*) AS orders, round(sum(amount), 2) AS total FROM orders;
