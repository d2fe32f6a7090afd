"""Lines of Taobao's display ads and of CIKM 2019 in the form of their files, oddities included:
a blank behind the last name of a header, NULL, empty cells, quotation marks, no profile."""

TAOBAO = {
    "raw_sample": [
        "user,time_stamp,adgroup_id,pid,nonclk,clk",
        "581738,1494137644,1,430548_1007,1,0",
        "449818,1494638778,3,430548_1007,1,0",
        '"914836","1494650879","63133","430539_1007","0","1"',
        "581738,1494137644,1,430548_1007,1,0",
        "234,1494000000,4,430539_1007,0,1",
    ],
    "ad_feature": [
        "adgroup_id,cate_id,campaign_id,customer,brand,price",
        "63133,6406,83237,1,95471,170.0",
        "1,9025,108570,2,NULL,99999999.0",
        "3,6421,,3,,0.01",
        '"4",6421,83237,"1",95471,12',
    ],
    "user_profile": [
        "userid,cms_segid,cms_group_id,final_gender_code,age_level,pvalue_level,shopping_level,"
        "occupation,new_user_class_level ",
        "234,0,5,2,5,,3,0,3",
        "581738,0,3,1,3,2,3,0,",
        "449818,19,3,2,3,1,3,0,2",
    ],
}

CIKM = {
    "user_behavior": [
        "17,901,pv,86401",
        "17,901,cart,86405",
        '"17","901","buy","86407"',
        "4,902,fav,0",
        "4,903,pv,1382399",
    ],
    "user": ["17,1,33,6", "4,0,,2", "999,,25,"],
    "item": ["901,7,30001,12", "902,,30002,", "903,7,30001,12", "904,8,1,1"],
}
