"""O protocolo puro: bytes entram, comandos saem; comandos entram, bytes saem. Sem rede e sem threads."""

import io
import json
import pickle
import random
import unicodedata

import pytest

from protocolo import (
    MAXIMO_DA_LINHA,
    MAXIMO_DO_FATO,
    MAXIMO_DO_NOME,
    NAO_UTF8,
    Aviso,
    Conectado,
    Consulta,
    Entrada,
    Fila,
    Fim,
    Json,
    LinhaLonga,
    Mensagem,
    Pausa,
    Pergunta,
    Pronto,
    Resposta,
    SeparadorDeLinhas,
    Texto,
    Tipo,
    Transferencia,
    Volta,
    comandos_do_servidor,
    escolher_departamentos,
    limpar,
    validar_nome,
)


def casos(argumentos, tabela):
    """Um teste por item de `tabela`, cuja chave é o nome do caso."""
    return pytest.mark.parametrize(argumentos, tabela.values(), ids=tabela.keys())


def cada(argumento, *valores):
    """Um teste por valor, que é também o nome do caso."""
    return pytest.mark.parametrize(argumento, valores, ids=ascii)


em_pedacos = casos("tamanho", {"de-1": 1, "de-5": 5, "de-4096": 4096, "de-uma-vez": 1_000_000})


# --- Enquadramento ------------------------------------------------------------------------------

FAMILIA = "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}\N{ZERO WIDTH JOINER}\N{GIRL}"

# nome do caso: (os bytes que chegam, as linhas que eles dizem)
CASOS = {
    "bom": (b"\xef\xbb\xbfoi\n\xef\xbb\xbfoi\n", ["oi", "\ufeffoi"]),  # o primeiro, para quem junta os casos
    "bom-na-segunda-linha": (b"a\n\xef\xbb\xbfoi\n", ["a", "\ufeffoi"]),
    "nada": (b"", []),
    "uma-linha": (b"oi\n", ["oi"]),
    "tres-linhas": (b"um\ndois\ntres\n", ["um", "dois", "tres"]),
    "linhas-vazias": (b"\n\n\r\n", ["", "", ""]),
    "so-espacos": (b"  \n\t\n", ["  ", " "]),
    "sem-o-fim-da-linha": (b"oi\nmetade", ["oi"]),
    "crlf": (b"oi\r\ntchau\r\n", ["oi", "tchau"]),
    "cr-no-meio": (b"a\rb\n", ["a b"]),
    "cr-repetido": (b"a\r\r\n", ["a "]),
    "acentos": ("ação é coração\n".encode(), ["ação é coração"]),
    "emoji-com-zwj": (f"{FAMILIA}!\n".encode(), [f"{FAMILIA}!"]),
    "meio-bom": (b"\xef\xbbx\n", [NAO_UTF8, "\ufffdx"]),
    "separadores-unicode": ("a\u2028b\u2029c\x85d\ve\ff\n".encode(), ["a b c d e f"]),
    "bidirecionais": ("a\u202eb\u202c\u2066c\u2069\n".encode(), ["abc"]),
    "escape-do-terminal": (b"\x1b[2Jsumiu\x07\x00\n", ["[2Jsumiu"]),
    "tab": (b"a\tb\n", ["a b"]),
    "byte-invalido-antes-do-fim": (b"a\xff\nb\n", [NAO_UTF8, "a\ufffd", "b"]),
    "byte-invalido-depois-do-fim": (b"a\n\xffb\n", ["a", NAO_UTF8, "\ufffdb"]),
    "sequencia-truncada": (b"a\xe2\x82\nb\n", [NAO_UTF8, "a\ufffd", "b"]),
    "sequencia-truncada-antes-do-crlf": (b"\xf0\x9f\x98\r\n", [NAO_UTF8, "\ufffd"]),
    "continuacao-solta": (b"\x80\n\xbf\xbf\n", [NAO_UTF8, "\ufffd", "\ufffd\ufffd"]),
    "surrogate-em-utf8": (b"\xed\xa0\x80\n", [NAO_UTF8, "\ufffd\ufffd\ufffd"]),
    "substituto-escrito": ("\ufffd\n".encode(), ["\ufffd"]),
    "byte-invalido-na-descartada": (b"\xff" * 5000 + b"\n\xff\n", [None, NAO_UTF8, "\ufffd"]),
    "4095-bytes": (b"x" * 4094 + b"\n", ["x" * 4094]),
    "4096-bytes": (b"x" * 4095 + b"\n", ["x" * 4095]),
    "4097-bytes": (b"x" * 4096 + b"\n", [None]),
    "4096-bytes-com-cr": (b"x" * 4094 + b"\r\n", ["x" * 4094]),
    "4097-bytes-com-cr": (b"x" * 4095 + b"\r\n", [None]),
    "4095-bytes-sem-fim": (b"x" * 4095, []),
    "longa-sem-fim": (b"oi\n" + b"x" * 4096, ["oi", None]),
    "longa-so-de-controles": (b"\x00" * 4096 + b"\n", [None]),
    "limite-e-de-bytes": ("é".encode() * 2048 + b"\n", [None]),
    "duas-longas-no-meio": (b"a\n" + b"x" * 5000 + b"\n" + b"y" * 9000 + b"\nb\n", ["a", None, None, "b"]),
    "longa-depois-de-vazia": (b"\n" + b"x" * 4096 + b"\n\nfim\n", ["", None, "", "fim"]),
}


def separar(pedacos):
    """As linhas que saem de um separador novo alimentado com cada pedaço, na ordem."""
    separador = SeparadorDeLinhas()
    return [linha for pedaco in pedacos for linha in separador.alimentar(pedaco)]


def cortar(dados, tamanho):
    """`dados` em pedaços de `tamanho` bytes."""
    return [dados[inicio : inicio + tamanho] for inicio in range(0, len(dados), tamanho)]


@em_pedacos
@casos("dados, esperado", CASOS)
def test_linhas_nao_dependem_dos_pedacos(dados, esperado, tamanho):
    """As mesmas linhas saem, venham os bytes em pedaços de que tamanho vierem."""
    assert separar(cortar(dados, tamanho)) == esperado


@casos("semente", {f"semente-{semente}": semente for semente in range(20)})
def test_cortes_ao_acaso(semente):
    """Todos os casos que acabam em fim de linha, em uma conexão só e cortada ao acaso, dão as linhas de sempre."""
    inteiros = [caso for caso in CASOS.values() if caso[0].endswith(b"\n")]
    dados = b"".join(trecho for trecho, _ in inteiros)
    sorteio = random.Random(semente)
    cortes = sorted(sorteio.choices(range(len(dados) + 1), k=sorteio.choice([1, 10, 500])))
    pedacos = [dados[de:ate] for de, ate in zip([0, *cortes], [*cortes, len(dados)])]
    esperadas = [linha for _, linhas in inteiros for linha in linhas]
    so_uma_vez = esperadas.index(NAO_UTF8)
    assert separar(pedacos) == [x for i, x in enumerate(esperadas) if x is not NAO_UTF8 or i == so_uma_vez]


def test_linha_sai_assim_que_se_completa():
    """Cada linha sai no pedaço que traz o seu fim, nem antes nem depois."""
    separador = SeparadorDeLinhas()
    assert [separador.alimentar(pedaco) for pedaco in (b"o", b"i", b"\nt", b"", b"u\n")] == [[], [], ["oi"], [], ["tu"]]


def test_o_bom_sozinho_nao_e_meia_linha():
    """De quem só mandou o BOM, nenhuma linha ficou sem o fim."""
    separador = SeparadorDeLinhas()
    assert (separador.alimentar(b"\xef\xbb\xbf"), separador.resto) == ([], b"")


def test_linha_longa_e_marcada_uma_vez_e_na_hora():
    """A linha longa é marcada no byte em que passa do limite, sem esperar o fim dela, e só uma vez."""
    separador = SeparadorDeLinhas()
    assert separador.alimentar(b"x" * (MAXIMO_DA_LINHA - 1)) == []
    assert separador.alimentar(b"x") == [None]
    assert separador.alimentar(b"x" * 10_000) == []
    assert separador.alimentar(b"x\noi\n") == ["oi"]


@casos("tamanho", {"de-1000": 1000, "de-4096": 4096, "de-uma-vez": 5_000_000})
def test_linha_sem_fim_nao_ocupa_memoria(tamanho):
    """De 5 MB sem um fim de linha, o separador nunca guarda mais do que uma linha."""
    separador, vazio = SeparadorDeLinhas(), len(pickle.dumps(SeparadorDeLinhas()))
    linhas = []
    for pedaco in cortar(b"x" * 5_000_000, tamanho):
        linhas += separador.alimentar(pedaco)
        assert len(pickle.dumps(separador)) < vazio + MAXIMO_DA_LINHA + 16
    assert linhas + separador.alimentar(b"\noi\n") == [None, "oi"]


# --- Texto de usuário ---------------------------------------------------------------------------


def test_limpar():
    """De todo o Unicode somem os controles e os bidirecionais; o que separa palavras ou linhas vira um espaço."""
    somem = {*range(0x202A, 0x202F), *range(0x2066, 0x206A)}

    def limpo(letra):
        if letra in "\t\n\v\f\r\x85\u2028\u2029":
            return " "
        return "" if unicodedata.category(letra) == "Cc" or ord(letra) in somem else letra

    letras = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x10000)]))
    assert limpar(letras) == "".join(map(limpo, letras))
    dos_outros_planos = "".join(map(chr, range(0x10000, 0x110000)))
    assert len(limpar(dos_outros_planos)) == len(dos_outros_planos)
    assert limpar("\ta\tb\0c\t") == " a bc "


@cada(
    "texto, nome",
    *(("Y", "Y"), ("  Ana Maria \t", "Ana Maria"), ("Ana\tMaria", "Ana Maria"), ("\x00 Yuri", "Yuri")),
    *((" " + "é" * 40 + " ", "é" * 40), ("\x1b" + "x" * 40, "x" * 40), (FAMILIA, FAMILIA), ("FIM:", "FIM:")),
    *(("Jose\u0301", "José"), ("e\u0301" * 40, "é" * 40), ("b" + "\u0301" * 4 + "b", "b" + "\u0301" * 4 + "b")),
    *((".", "."), ("7", "7"), ("\ufffd", "\ufffd"), ("❤️\u200d🔥", "❤️\u200d🔥"), ("🙂\u200d↔️", "🙂\u200d↔️")),
    *(("👩🏽\u200d⚕️ Ana", "👩🏽\u200d⚕️ Ana"), ("क्षि", "क्षि"), ("Nguyễn", "Nguyễn"), ("a\u2029b", "a b")),
)
def test_nome_valido(texto, nome):
    """O nome sai limpo, sem espaços nas pontas e em NFC, de onde quer que venham os seus acentos."""
    assert validar_nome(texto) == nome


@cada(
    "texto",
    *("", " \t ", "\x00\x1b\u202e\u2028", "x" * 41, "Yu[ri", "Yu]ri", "\u115f", "\u1160\u2800", "\u3164", "\uffa0"),
    *("\u0301", "\ue000", "\u200b", "Ana\u200b", "\ufeffAna", "An\u200da", "\u200d🙂", "🙂\u200d", "🙂\u200d\u200d🙂"),
    *("Ana\u00ad", "Ana\U000e0041", "🙂\u200dAna", "+\u200d+", "b" + "\u0301" * 5, "e" + "\u0301" * 6),
)
def test_nome_invalido(texto):
    """O nome que não serve é recusado com o motivo que vai no `FIM:`."""
    with pytest.raises(ValueError, match="^Nome inválido: use de 1 a 40 caracteres, sem colchetes.$"):
        validar_nome(texto)


def test_a_recusa_de_um_departamento_enche_a_linha():
    """Ela traz os nomes enquanto couberem, e a que tem o tamanho exato da linha ainda os traz."""
    sobra = "Departamento inválido: escolha entre os que o servidor anuncia."
    cheia = "Departamento inválido: escolha entre {}."
    de_um_nome = MAXIMO_DA_LINHA - len(f"AVISO:{cheia.format('')}\n".encode())
    for tamanho, recusa in (de_um_nome, cheia.format("x" * de_um_nome)), (de_um_nome + 1, sobra):
        with pytest.raises(ValueError) as erro:
            escolher_departamentos("Vendas", ["x" * tamanho], varios=False)
        assert str(erro.value) == recusa


# --- Comandos que saem --------------------------------------------------------------------------

DO_SERVIDOR = {
    "pergunta-o-nome": (Pergunta("nome"), "NOME:"),
    "pergunta-a-senha": (Pergunta("senha"), "SENHA:"),
    "pergunta-o-departamento": (Pergunta("departamento", ("Vendas", "Suporte")), "DEPARTAMENTO:Vendas,Suporte"),
    "posicao-um": (Fila(1), "FILA:1"),
    "posicao-alta": (Fila(1234), "FILA:1234"),
    "atendente-livre": (Fila(None), "FILA:OK"),
    "conectado": (Conectado("José da Silva"), "CONECTADO:José da Silva"),
    "conectado-com-dois-pontos": (Conectado("a: b"), "CONECTADO:a: b"),
    "mensagem": (Mensagem("Yuri", ("Olá!",)), "[Yuri]: Olá!"),
    "mensagem-que-parece-comando": (Mensagem("Yuri", ("FIM:",)), "[Yuri]: FIM:"),
    "mensagem-com-colchetes": (Mensagem("Yuri", ("[Ana]: oi",)), "[Yuri]: [Ana]: oi"),
    "mensagem-vazia": (Mensagem("Yuri", ("",)), "[Yuri]: "),
    "fim": (Fim("Servidor encerrado."), "FIM:Servidor encerrado."),
    "fim-sem-motivo": (Fim(), "FIM:"),
    "aviso": (Aviso("Atenção: há espera."), "AVISO:Atenção: há espera."),
}
DO_TERMINAL = {
    "entrada-de-cliente": (Entrada(Tipo.CLIENTE), "CLIENTE"),
    "entrada-de-atendente": (Entrada(Tipo.ATENDENTE, "Vendas,Suporte"), "ATENDENTE:Vendas,Suporte"),
    "resposta": (Resposta("nome", "Yuri"), "Yuri"),
}
PEDIDOS = {
    "consulta": (Consulta(), "FILA:"),
    "pausa": (Pausa(), "PAUSA:"),
    "volta": (Volta(), "VOLTA:"),
    "pronto": (Pronto(), "PRONTO:"),
    "transferencia": (Transferencia("Suporte"), "TRANSFERIR:Suporte"),
    "transferencia-sem-destino": (Transferencia(""), "TRANSFERIR:"),
    "encerrar": (Fim(), "FIM:"),
    "encerrar-com-resto": (Fim("tchau"), "FIM:tchau"),
    "encerrar-com-prefixo": (Fim("[Yuri]: x"), "FIM:[Yuri]: x"),
}


@casos("comando, linha", DO_SERVIDOR | DO_TERMINAL | PEDIDOS)
def test_codificar(comando, linha):
    """Cada comando tem no fio a forma literal da especificação, em UTF-8 e com `\\n` no fim."""
    assert Texto("Outro").codificar(comando) == f"{linha}\n".encode()


def test_codificar_varias_mensagens():
    """Cada texto é uma linha com o nome de quem falou; um substituto solto, que não tem UTF-8, vira `?`."""
    assert Texto().codificar(Mensagem("Yu", ["um", "a\ud800b", "é"])) == "[Yu]: um\n[Yu]: a?b\n[Yu]: é\n".encode()


# --- O que chega ao servidor --------------------------------------------------------------------


@cada(
    "linha, entrada",
    *(("CLIENTE", Entrada(Tipo.CLIENTE)), (" ATENDENTE ", Entrada(Tipo.ATENDENTE))),
    *(("CLIENTE:Vendas", Entrada(Tipo.CLIENTE, "Vendas")), ("ATENDENTE:A, b:c", Entrada(Tipo.ATENDENTE, "A, b:c"))),
)
def test_ler_entrada(linha, entrada):
    """A primeira linha diz o tipo de quem se conecta e, se ele quiser, o departamento."""
    assert Texto().ler_entrada(linha) == entrada


@cada("linha", "", "  ", None, "cliente", "CLIENTE:", "CLIENTE Yuri", "Tipo.CLIENTE", "GET / HTTP/1.1")
def test_entrada_invalida(linha):
    """Qualquer outra primeira linha é recusada com o motivo que vai no `FIM:`."""
    with pytest.raises(ValueError, match="^Tipo inválido: envie CLIENTE ou ATENDENTE.$"):
        Texto().ler_entrada(linha)


@cada(
    "campo, linha, texto",
    *(("nome", " Yuri ", " Yuri "), ("nome", "", ""), ("nome", None, "")),
    *(("departamento", " Vendas ", "Vendas"), ("departamento", " ", "*"), ("departamento", None, "")),
)
def test_ler_resposta(campo, linha, texto):
    """A resposta vem como foi escrita; a longa demais vale como inválida, e nenhum departamento, como todos."""
    assert Texto().ler_resposta(campo, linha) == Resposta(campo, texto)


@cada(
    "linha",
    *("oi", "  oi ", "[Ana]: oi", "[yuri]: oi", "[Yuri]:oi", " [Yuri]: oi", "[Yuri]", "eu, [Yuri]: oi", "fim:", "FIM"),
    *(" FIM:", "\ufeffFIM:", "CONECTADO:Ana", "FILA:2", "PAUSA: já volto", "PRONTO", "PRONTO:1"),
)
def test_o_que_nao_e_comando_e_mensagem(linha):
    """Também o que só parece um comando, ou o próprio prefixo; e o texto é a linha inteira."""
    assert Texto("Yuri").ler_participante([linha]) == [Mensagem("Yuri", [linha])]


@cada("texto", "oi", " oi", "[Yuri]: oi", "FIM:")
def test_o_proprio_prefixo_sai(texto):
    """A mensagem perde o próprio prefixo, se o traz exato, uma vez, e nada depois dele é comando."""
    assert Texto("Yuri").ler_participante([f"[Yuri]: {texto}"]) == [Mensagem("Yuri", [texto])]


@casos("comando, linha", PEDIDOS | {"so-espacos-depois": (Volta(), "VOLTA:  ")})
def test_pedido_de_participante(comando, linha):
    """A palavra de um comando no começo exato da linha é um pedido."""
    assert Texto("Yuri").ler_participante([linha]) == [comando]


@cada("linha", "", "   ", "\u3000", "\xa0", "[Yuri]: ", "[Yuri]: \u3000 ")
def test_linha_em_branco_nao_diz_nada(linha):
    """Linha vazia ou só de espaços, com o próprio prefixo ou sem, é ignorada e nem separa as mensagens vizinhas."""
    assert Texto("Yuri").ler_participante([linha]) == []
    assert Texto("Yuri").ler_participante(["a", linha, "b"]) == [Mensagem("Yuri", ["a", "b"])]


def test_agrupamento_e_ordem():
    """Mensagens seguidas saem juntas; longas e `FIM:` as separam sem trocar a ordem de nada."""
    linhas = [None, "a", "[Yuri]: b", "", None, None, "c", "FIM:", "d", "x" * 4095, "e", "f"]
    longa = LinhaLonga()
    esperado = [longa, ["a", "b"], longa, longa, ["c"], Fim(), ["d"], longa, ["e", "f"]]
    comandos = [Mensagem("Yuri", item) if isinstance(item, list) else item for item in esperado]
    assert Texto("Yuri").ler_participante(linhas) == comandos


@casos("letra", {"1-byte": "x", "2-bytes": "é", "3-bytes": "\ufffd", "4-bytes": "😀"})
@casos("tamanho", {"nome-curto": 1, "nome-medio": 20, "nome-longo": MAXIMO_DO_NOME})
def test_nenhuma_linha_que_sai_passa_do_limite(letra, tamanho):
    """De qualquer nome e de qualquer tamanho, é aceita toda mensagem que cabe na linha e nenhuma outra."""
    formato = Texto(letra * tamanho)
    for quantas in [*range(1, MAXIMO_DA_LINHA, 97), *range(880, 1100), *range(1200, 1400), *range(1900, 2100), 4095]:
        mensagem = Mensagem(formato.nome, [letra * quantas])
        cabe = len(formato.codificar(mensagem)) <= MAXIMO_DA_LINHA
        assert formato.ler_participante(mensagem.textos) == [mensagem if cabe else LinhaLonga()]


@casos("tipo, folga", {"texto": (Texto, 1), "json": (Json, 2)})
@casos("nome", {"nome-curto": "Y", "nome-longo": "😀" * MAXIMO_DO_NOME})
@casos("texto", {"curto": "é", "escapes": '"' * 500, "emojis": "😀" * 900, "no-limite": "x" * 3900})
def test_teto_do_que_um_bloco_vira(tipo, folga, nome, texto):
    """Um comando só passa do teto por uma linha; todos o enchem por igual, e nenhum texto falta."""
    linha = texto if tipo is Texto else json.dumps({"comando": "mensagem", "texto": texto}, ensure_ascii=False)
    comandos = tipo(nome).ler_participante([linha] * 3000)
    assert [texto for comando in comandos for texto in comando.textos] == [texto] * 3000
    *cheios, ultimo = [len(comando.textos) for comando in comandos]
    assert set(cheios) == {cheios[0]} and 0 < ultimo <= cheios[0] > 1
    assert len(tipo(nome).codificar(comandos[0])) <= folga * (MAXIMO_DO_FATO + MAXIMO_DA_LINHA)


# --- O que chega aos programas de terminal ------------------------------------------------------

@cada(
    "linha",
    *("", "  ", None, "oi", "FIM", "CONECTADO", "APAGAR:tudo", "fila:1", " FILA:1", "FILA:", "FILA:dois", "FILA:-1"),
    *("FILA:1.5", "FILA: 1", "FILA:1_0", "FILA:\u0663", "FILA:\u00b2", "DEPARTAMENTO:", "[Yuri] oi", "[Yuri]:oi"),
)
def test_lixo_do_servidor_e_descartado(linha):
    """O que não se entende some, sem levar os vizinhos."""
    assert Texto().ler_servidor(["FILA:2", linha, "FILA:1"]) == [Fila(2), Fila(1)]


def recv_de(dados, tamanho):
    """Um `recv` que entrega `dados` em pedaços de até `tamanho` bytes, e depois o fim do fluxo."""
    fluxo = io.BytesIO(dados)
    return lambda maximo: fluxo.read(min(tamanho, maximo))


@em_pedacos
def test_comandos_do_servidor(tamanho):
    """O que o servidor codifica é o que o terminal lê: tudo, na ordem e limpo, venha como vier; lixo e sobra, não."""
    comandos = [comando for comando, _ in DO_SERVIDOR.values()]
    dados = b"".join(map(Texto().codificar, comandos)) + b"lixo\n" + b"x" * 9000 + b"\n[A]: \x1b[2Joi\n[A]: oi\nFILA:2"
    lidos = [*comandos, Mensagem("A", ("[2Joi",)), Mensagem("A", ("oi",))]
    assert list(comandos_do_servidor(recv_de(dados, tamanho))) == lidos


def test_comando_nao_espera_pelo_seguinte():
    """O comando sai assim que a sua linha se completa, sem outro `recv`."""
    pedacos = iter([b"FIL", b"A:1\nFI"])
    assert next(comandos_do_servidor(lambda maximo: next(pedacos))) == Fila(1)
