"""Lines of Avazu's ``train.csv``, in its form; ids of 64 bits and the null device among them."""

AVAZU = (
    "id,click,hour,C1,banner_pos,site_id,site_domain,site_category,app_id,app_domain,app_category,"
    "device_id,device_ip,device_model,device_type,device_conn_type,C14,C15,C16,C17,C18,C19,C20,C21"
)
AVAZU_ROWS = [
    "1000009418151094273,0,14102100,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    "a99f214a,ddd2926e,44956a24,1,2,15706,320,50,1722,0,35,-1,79",
    "18446744073709551615,1,14102123,1005,0,1fbe01fe,f3845767,28905ebd,ecad2386,7801e8d9,07d7df22,"
    "a99f214a,96809ac8,711ee120,1,0,15704,320,50,1722,0,35,100084,79",
    "18446744073709551614,0,14102201,1002,1,85f751fd,c4e18dd6,50e219e0,d36838b1,d9b5648e,0f2161f8,"
    "a99f214a,ddd2926e,44956a24,1,0,15706,320,50,1722,0,35,-1,79",
    "10000679056417042096,1,14103023,1005,0,85f751fd,c4e18dd6,50e219e0,d36838b1,d9b5648e,0f2161f8,"
    "c357dbff,f1ac7184,373ecbe6,1,0,20345,300,250,2331,2,39,-1,23",
]
