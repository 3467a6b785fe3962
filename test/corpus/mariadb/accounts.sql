create database if not exists shop;
create or replace user shop@'%' identified by 'example';
grant all on shop.* to shop@'%';
