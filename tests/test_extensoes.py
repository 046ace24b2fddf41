"""Departamentos, comandos, devolução e registro no fio: o que só com sockets se vê."""

import json
import random
import threading

import pytest
from automato import Fio
from leitor import Pena
from modelo import FORA_DE_PAUSA, JA_ACABOU, NA_ESPERA, REGISTRADA, Modelo, Ouvinte
from participante import FECHOU, PRAZO, Participante
from test_protocolo import casos

from atendimento.carteiro import Carteiro
from atendimento.conexao import Conexao
from protocolo import Consulta, Fim, Mensagem, Pausa, Pronto, Tipo, Transferencia, Volta, validar_departamentos

DOIS = ("Vendas", "Suporte")
VOLTOU = "AVISO:O atendente Ana desconectou. Você voltou para o início da fila."


def em_pedacos(alguem, dados, tamanho):
    """Manda os bytes de `tamanho` em `tamanho`."""
    for inicio in range(0, len(dados), tamanho):
        alguem.envia(dados[inicio : inicio + tamanho])


# --- A identificação ----------------------------------------------------------------------------


@casos(
    "dados, onde",
    {
        "cliente": (b"CLIENTE\nYuri\nSuporte\n", ("Suporte",)),
        "cliente-em-minusculas": (b"CLIENTE\nYuri\n  sUPORTE \n", ("Suporte",)),
        "atendente-de-um": (b"ATENDENTE\nAna\nVendas\n", ("Vendas",)),
        "atendente-de-dois": (b"ATENDENTE\nAna\nsuporte , VENDAS\n", ("Suporte", "Vendas")),
        "atendente-de-todos": (b"ATENDENTE\nAna\n\n", ("Vendas", "Suporte", "Crédito")),
        "atendente-repetido": (b"ATENDENTE\nAna\nVendas,vendas\n", ("Vendas",)),
        "cliente-na-primeira-linha": (b"CLIENTE:Vendas\nYuri\n", ("Vendas",)),
        "com-espacos-na-primeira-linha": (b" CLIENTE: vendas \nYuri\n", ("Vendas",)),
        "atendente-na-primeira-linha": (b"ATENDENTE:Vendas,Suporte\nAna\n", ("Vendas", "Suporte")),
        "todos-na-primeira-linha": (b"ATENDENTE:*\nAna\n", ("Vendas", "Suporte", "Crédito")),
        "acento-em-duas-letras": ("ATENDENTE:cre\u0301dito\nAna\n".encode(), ("Crédito",)),
    },
)
@casos("tamanho", {"um-byte": 1, "de-uma-vez": 4096})
def test_a_escolha_do_departamento(abrir_servidor, dados, onde, tamanho):
    """É perguntado depois do nome a quem não o disse na primeira linha; não importam maiúsculas nem espaços."""
    servidor = abrir_servidor(departamentos=validar_departamentos("Vendas,Suporte,Cre\u0301dito"))
    alguem = servidor.conecta()
    em_pedacos(alguem, dados, tamanho)
    perguntas = ["NOME:"] if b":" in dados else ["NOME:", "DEPARTAMENTO:Vendas,Suporte,Crédito"]
    alguem.espera(*perguntas, "FILA:OK" if b"ATENDENTE" in dados else "FILA:1")
    (participante,) = servidor.filas.user_states
    assert participante.departamentos == onde


@casos(
    "linhas",
    {
        "outro": ["CLIENTE", "Yuri", "Compras"],
        "vazio-do-cliente": ["CLIENTE", "Yuri", ""],
        "dois-do-cliente": ["CLIENTE", "Yuri", "Vendas,Suporte"],
        "todos-do-cliente": ["CLIENTE", "Yuri", "*"],
        "outro-do-atendente": ["ATENDENTE", "Ana", "Vendas,Compras"],
        "virgula-a-mais": ["ATENDENTE", "Ana", "Vendas,"],
        "linha-longa": ["ATENDENTE", "Ana", "x" * 5000],
        "linha-longa-em-branco": ["ATENDENTE", "Ana", " " * 5000],
        "linha-longa-sem-fim": ["ATENDENTE", "Ana", b" " * 4096],
        "outro-na-primeira-linha": ["CLIENTE:Compras"],
        "dois-na-primeira-linha": ["CLIENTE:Vendas,Suporte"],
        "todos-na-primeira-linha": ["CLIENTE:*"],
        "outro-do-atendente-na-primeira-linha": ["ATENDENTE:x"],
    },
)
def test_escolha_invalida(abrir_servidor, linhas):
    """A recusa traz a lista, e na primeira linha vem na hora; a linha longa demais não quer dizer todos."""
    alguem = abrir_servidor(departamentos=DOIS).conecta()
    alguem.envia(*linhas)
    perguntas = ["NOME:", "DEPARTAMENTO:Vendas,Suporte"] if len(linhas) > 1 else []
    alguem.espera(*perguntas, "FIM:Departamento inválido: escolha entre Vendas, Suporte.", FECHOU)


@casos("tipo", {"cliente": "CLIENTE:Vendas", "atendente": "ATENDENTE:Vendas", "cliente-de-todos": "CLIENTE:*"})
def test_servidor_sem_departamentos(servidor, tipo):
    """Quem diz um departamento a quem não os tem é recusado."""
    alguem = servidor.conecta()
    alguem.envia(tipo)
    alguem.espera("FIM:Departamento inválido: este servidor não tem departamentos.", FECHOU)


@casos("todos", {"texto": None, "asterisco": "*", "vazio": " ", "lista-vazia": [], "lista": ["*"]})
def test_todos_onde_nao_ha_departamentos(servidor, todos):
    """O atendente de todos entra na única fila que há."""
    ana, livre = servidor.conecta(), ["NOME:", "FILA:OK"] if todos is None else ['{"comando":"fila","posicao":null}']
    ola = json.dumps({"comando": "atendente", "nome": "Ana", "departamento": todos})
    ana.envia(*(["ATENDENTE:*", "Ana"] if todos is None else [ola]))
    ana.espera(*livre)
    servidor.cliente("Yuri", "CONECTADO:Ana")


@casos("tamanho", {"um-byte": 1, "de-cinco": 5, "de-uma-vez": 4096})
def test_a_senha_vem_antes_do_nome_e_do_departamento(abrir_servidor, tamanho):
    """A ordem das perguntas é senha, nome, departamento, venham as respostas aos pedaços ou todas de uma vez."""
    ana = abrir_servidor(departamentos=DOIS, senha="segredo").conecta()
    em_pedacos(ana, b"ATENDENTE\nsegredo\nAna\n\nFILA:\n", tamanho)
    ana.espera("SENHA:", "NOME:", "DEPARTAMENTO:Vendas,Suporte", "FILA:OK", "AVISO:Nenhum cliente na fila.")


def test_a_maior_lista_que_cabe_na_pergunta(abrir_servidor):
    """A pergunta pode encher a linha de 4096 bytes; não serve a lista maior, nem a que não se escreve em UTF-8."""
    nomes = [f"{numero:040}" for numero in range(99)] + ["x" * 23]
    assert len(f"DEPARTAMENTO:{','.join(nomes)}\n") == 4096
    alguem = abrir_servidor(departamentos=validar_departamentos(",".join(nomes))).conecta()
    alguem.envia("CLIENTE", "Yuri", nomes[-1])
    alguem.espera("NOME:", f"DEPARTAMENTO:{','.join(nomes)}", "FILA:1")
    for lista in ",".join(nomes) + "x", "Ven\udcff,Suporte":
        with pytest.raises(ValueError):
            validar_departamentos(lista)


@casos("quantos, abreviada", {"cabe": (60, False), "nao-cabe": (99, True)})
def test_a_recusa_cabe_na_linha(abrir_servidor, quantos, abreviada):
    """A recusa só abrevia a lista que não caberia na linha: `Participante.linha` confere o limite."""
    nomes = tuple(f"{numero:040}" for numero in range(quantos))
    alguem = abrir_servidor(departamentos=nomes).conecta()
    alguem.envia("CLIENTE:x")
    lista = "os que o servidor anuncia" if abreviada else ", ".join(nomes)
    alguem.espera(f"FIM:Departamento inválido: escolha entre {lista}.", FECHOU)


# --- Os comandos --------------------------------------------------------------------------------


def test_o_que_se_escreve_para_transferir(abrir_servidor):
    """Vale a escolha de um departamento, como na identificação; a que não serve dá um aviso."""
    servidor = abrir_servidor(departamentos=DOIS)
    ana, yuri = servidor.conecta(), servidor.conecta()
    ana.envia("ATENDENTE:Vendas", "Ana")
    ana.espera("NOME:", "FILA:OK")
    yuri.envia("CLIENTE:Vendas", "Yuri")
    ana.espera("CONECTADO:Yuri")
    ana.envia(*[f"TRANSFERIR:{onde}" for onde in ("Compras", "", "*", "Suporte,Vendas", "VENDAS", " suporte ")])
    ana.espera(*["AVISO:Departamento inválido: escolha entre Vendas, Suporte."] * 4)
    ana.espera("AVISO:O cliente Yuri já está em Vendas.")
    ana.espera("FIM:Atendimento encerrado. O cliente Yuri foi transferido para Suporte.")


# --- Entre dois atendimentos ---------------------------------------------------------------------


def test_so_se_chama_com_pronto_quem_o_diz(servidor):
    """Depois do fim, Ana só é chamada quando diz que o leu; o que manda antes não chega ao seguinte, nem a expulsa."""
    ana = servidor.atendente("Ana", "FILA:OK")
    ana.envia("PRONTO:", "PRONTO: já volto")  # o primeiro não tem resposta; o segundo é conversa
    ana.espera("AVISO:Nenhum cliente conectado; a mensagem não foi enviada.")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana")
    bia = servidor.cliente("Bia", "FILA:1")
    yuri.fecha()
    ana.espera("CONECTADO:Yuri", "FIM:Atendimento encerrado. O cliente Yuri desconectou.")
    ana.envia("Até logo, Yuri.", "FIM:", "TRANSFERIR:Suporte", "VOLTA:", "FILA:")
    ana.espera("AVISO:Nenhum cliente conectado; a mensagem não foi enviada.", JA_ACABOU, JA_ACABOU, FORA_DE_PAUSA)
    ana.espera("AVISO:Clientes na fila: 1 (Bia).")
    bia.envia("PRONTO:", "FILA:")
    bia.espera("AVISO:Só atendentes dizem que estão prontos.")
    bia.espera("AVISO:Você é o número 1 de 1 na fila; atendentes online: 1; espera estimada: menos de 1 min.")
    ana.envia("PRONTO:", "Oi, Bia.", "FIM:", "PRONTO:")
    bia.espera("CONECTADO:Ana", "[Ana]: Oi, Bia.")
    bia.espera("FIM:Atendimento encerrado. O atendente Ana encerrou a conversa.", FECHOU)
    ana.espera("CONECTADO:Bia", "FIM:Atendimento encerrado. Você encerrou a conversa.", "FILA:OK")


def encerra(alguem):
    alguem.envia("FIM:")


@casos("vai_se", {"sai": Participante.fecha, "encerra": encerra})
@casos("dela", {"fala": "Até logo.", "encerra": "FIM:", "transfere": "TRANSFERIR:Suporte"})
def test_o_que_se_cruza_com_o_fim(abrir_servidor, vai_se, dela):
    """Trinta vezes, o que Ana manda no instante em que um cliente se vai não chega ao seguinte, nem a expulsa."""
    servidor = abrir_servidor(departamentos=DOIS)
    ana, cliente = servidor.conecta("Ana"), None
    ana.envia("ATENDENTE:Vendas", "Ana", "PRONTO:")
    ana.espera("NOME:", "FILA:OK")
    for numero in range(30):
        seguinte = servidor.conecta(f"C{numero}")
        seguinte.envia("CLIENTE:Vendas", seguinte.nome)
        seguinte.espera("NOME:")
        if cliente is not None:
            seguinte.espera("FILA:1")
            acontecem = [lambda: ana.envia(dela), lambda: vai_se(cliente)]
            for acontece in acontecem[:: (-1) ** numero]:
                acontece()
            while not ana.linha().startswith("FIM:Atendimento encerrado."):
                pass
            ana.envia("PRONTO:")
        antes = ana.le_ate(f"CONECTADO:{seguinte.nome}")
        assert len(antes) <= 1 and all(linha.startswith("AVISO:") for linha in antes)
        ana.envia("Oi.")
        seguinte.espera("CONECTADO:Ana", "[Ana]: Oi.")
        if cliente is not None:
            cliente.fecha()
        cliente = seguinte


# --- Quando o atendente cai ---------------------------------------------------------------------


@casos("cai", {"fecha": "fecha", "rst": "some", "meia": "para_de_escrever"})
def test_devolvido_a_frente_da_fila(abrir_servidor, cai):
    """O cliente de quem cai volta a ser o primeiro, e quem esperava fica sabendo."""
    servidor = abrir_servidor(devolver=True, ouvinte=Ouvinte())
    ana = servidor.atendente("Ana", "FILA:OK")
    yuri = servidor.cliente("Yuri", "CONECTADO:Ana", REGISTRADA)
    bia = servidor.cliente("Bia", "FILA:1")
    getattr(ana, cai)()
    yuri.espera(VOLTOU, "FILA:1")
    bia.espera("FILA:2")
    yuri.envia("ainda aqui")
    yuri.espera(NA_ESPERA)
    servidor.atendente("Bruno", "CONECTADO:Yuri", REGISTRADA, "[Yuri]: ainda aqui")
    yuri.espera("CONECTADO:Bruno", REGISTRADA)


def test_o_atendente_que_nao_le_tambem_cai(abrir_servidor, monkeypatch):
    """Cortado por não ler, o atendente perde o cliente para a fila, e não para o fim."""
    monkeypatch.setattr(Conexao, "BUFFER_DE_ENVIO", 4096)
    yuri, _ = abrir_servidor(devolver=True, prazo_envio=0.2).par(buffers=4096)
    parar = threading.Event()

    def falar():
        while not parar.is_set():
            yuri.envia(*["x" * 1000] * 20)

    falante = threading.Thread(target=falar)
    falante.start()
    try:
        yuri.espera(VOLTOU)
    finally:
        parar.set()
        falante.join(PRAZO)
    yuri.espera("FILA:1")


# --- Histórias sorteadas: o que a especificação manda dizer a cada um ----------------------------

FATOS = {"entrar": 6, "falar": 8, "pedir": 17, "sair": 2, "publicar": 3}  # e o peso de cada um no sorteio
PEDIDOS = {Consulta: 1, Pausa: 3, Volta: 4, Transferencia: 6, Fim: 3, Pronto: 6}
PALAVRAS = {Consulta: "FILA", Pausa: "PAUSA", Volta: "VOLTA", Transferencia: "TRANSFERIR", Fim: "FIM", Pronto: "PRONTO"}


class Historia:
    """Um servidor, o modelo ao lado dele, e uma porção de gente que fala com os dois como a página manda."""

    def __init__(self, sorte, abrir_servidor):
        self.sorte = sorte
        self.departamentos, self.senha = sorte.choice([(), ("Vendas", "Crédito")]), sorte.choice([None, "sê nha"])
        opcoes = {"departamentos": self.departamentos, "devolver": sorte.choice([False, True])}
        self.modelo, self.ouvinte, self.ouvido = Modelo(**opcoes, registrar=True), Ouvinte(), []
        relogio = {"ouvinte": self.ouvinte, "relogio": lambda: self.modelo.agora}
        self.servidor = abrir_servidor(**opcoes, **relogio, senha=self.senha)
        self.so_avanca = not self.departamentos and not opcoes["devolver"]
        self.fios, self.penas = {}, {}

    def acontecer(self):
        """Um fato, no fio e no modelo: cada um lê o que este manda, e nada mais."""
        self.modelo.agora += self.sorte.choice([0, 0, 1, 20, 200])
        poucos, muitos = len(self.modelo.gente) < 2, len(self.modelo.gente) > 16
        (fato,) = ["entrar"] if poucos else ["sair"] if muitos else self.sorte.choices([*FATOS], FATOS.values())
        for no_modelo in getattr(self, fato)():
            lidas, ouviu = self.modelo.acontece(*no_modelo)
            self.ouvido += ouviu
            for nome, linhas in lidas.items():
                if no_modelo != ("sair", nome):
                    self.fios[nome].espera(*linhas)
        assert self.ouvinte.ouvido == self.ouvido

    # O que o fato faz no fio. Devolvem os do modelo que dão no mesmo.

    def publicar(self):
        for cliente in self.servidor.filas.publicar_posicoes():
            self.servidor.carteiro.cuidar_de(cliente)
        return [("publicar_posicoes",)]

    def entrar(self):
        nome, tipo = f"José {len(self.fios)}", self.sorte.choice([Tipo.CLIENTE, Tipo.CLIENTE, Tipo.ATENDENTE])
        quantos = 1 if tipo is Tipo.CLIENTE else self.sorte.randint(1, 2)
        onde = tuple(self.sorte.sample(self.departamentos, quantos)) if self.departamentos else ("",)
        em_json = self.sorte.random() < 0.5
        fio = self.fios[nome] = Fio(self.servidor, nome, tipo, em_json, self.so_avanca)
        pena = self.penas[nome] = Pena(self.sorte, nome, em_json)
        dados, perguntas = pena.entrada(tipo.value, onde, self.departamentos, self.senha)
        for pedaco in pena.pedacos(dados):
            fio.cru.envia(pedaco)
        fio.espera(*perguntas)
        return [("admitir", nome), ("entrar", nome, tipo, nome, onde)]

    def sair(self):
        nome = self.sorte.choice([*self.modelo.gente])
        self.fios[nome].cru.fecha()
        self.servidor.espera_que_fechem(self.servidor.aceitas[[*self.fios].index(nome)])
        return [("sair", nome)]

    def falar(self):
        nome = self.sorte.choice([*self.modelo.gente])
        falas = [self.penas[nome].fala() for _ in range(self.sorte.choice([1, 1, 3]))]
        self.mandar(nome, b"".join(dados for dados, _, _ in falas))
        fatos = []
        for _, dito, avisos in falas:
            fatos += [("responder", nome, aviso) for aviso in avisos]
            fatos += [("repassar_chat", nome, Mensagem(nome, [dito]))] if dito is not None else []
        return [*fatos, ("atender", nome, Consulta())]

    def pedir(self):
        nome = self.sorte.choice([*self.modelo.gente])
        (tipo,) = self.sorte.choices([*PEDIDOS], PEDIDOS.values())
        onde = self.sorte.choice([*self.departamentos, "Compras"]) if tipo is Transferencia else None
        pedido = tipo(onde) if onde else tipo()
        self.fios[nome].vai_dizer(pedido)
        self.mandar(nome, self.penas[nome].pedido(PALAVRAS[tipo], onde))
        return [("atender", nome, pedido), ("atender", nome, Consulta())]

    def mandar(self, nome, dados):
        """Depois do que se mandou, a resposta a uma consulta diz que já aconteceu."""
        for pedaco in self.penas[nome].pedacos(dados + self.penas[nome].pedido("FILA")):
            self.fios[nome].cru.envia(pedaco)


@pytest.mark.parametrize(
    "sementes", [range(25), pytest.param(range(10_000), marks=pytest.mark.demorado)], ids=["vinte-e-cinco", "dez-mil"]
)
def test_cada_um_le_o_que_a_especificacao_manda(abrir_servidor, monkeypatch, sementes):
    """Em histórias sorteadas, em texto e em JSON, escritas de muitas formas, cada um lê o que o modelo diz, e só."""
    monkeypatch.setattr(Carteiro, "_publicar", lambda carteiro: None)  # quem publica as posições é o teste
    for semente in sementes:
        historia = Historia(random.Random(semente), abrir_servidor)
        try:
            for _ in range(40):
                historia.acontecer()
        except (AssertionError, OSError) as erro:
            raise AssertionError(f"história {semente}: {erro}") from erro
        historia.servidor.termina()
